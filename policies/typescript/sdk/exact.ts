// Between the interface's types and those of authors: exact numbers in the place of pairs of doubles, and nothing that would change on
// its way out.

import { Decimal } from "./decimal.js";
import type * as wire from "./wire.js";

/** A type of the interface with a `Decimal` wherever that has a pair of whole numbers. */
export type Exact<T> = T extends wire.Decimal
  ? Decimal
  : T extends Uint8Array
    ? T
    : T extends (infer Item)[]
      ? Exact<Item>[]
      : T extends object
        ? { [Name in keyof T]: Exact<T[Name]> }
        : T;

/** What the interface hands over. Throws a RangeError where a number has lost digits, as those of 2^53 and more have. */
export function exact<T>(value: T): Exact<T> {
  return read(value) as Exact<T>;
}

function read(value: unknown): unknown {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError("a number of 2^53 or more has lost digits on its way to JavaScript");
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) {
    return value;
  }
  if (Array.isArray(value)) {
    return value.map(read);
  }
  if ("whole" in value && "part" in value) {
    return Decimal.fromWire(value as wire.Decimal);
  }
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, read(inner)]));
}

/** What a double holds exactly. */
const SAFE: [number, number] = [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
/** The whole numbers that have fewer bits than a time or an amount, by the name of their field. */
const RANGES: Record<string, [number, number]> = {
  priority: [-(2 ** 31), 2 ** 31 - 1],
  withPeriod: [0, 2 ** 32 - 1],
};

/**
 * What the interface takes. Throws a RangeError for a number that would arrive as another one: a fraction or a NaN would be 0, and what
 * has too many bits would lose some.
 */
export function encoded(value: unknown, name: string): unknown {
  try {
    return write(value);
  } catch (error) {
    // Where it is costs time to keep in mind, and is asked for only now.
    locate(value, name);
    throw error;
  }
}

function write(value: unknown): unknown {
  if (typeof value === "string") {
    return value;
  }
  if (value instanceof Decimal) {
    return value.toWire();
  }
  if (Array.isArray(value)) {
    return value.map(write);
  }
  if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    const fields = value as Record<string, unknown>;
    const written: Record<string, unknown> = {};
    for (const name in fields) {
      const field = fields[name];
      written[name] = typeof field === "string" ? field : typeof field === "number" ? whole(field, name) : write(field);
    }
    return written;
  }
  return typeof value === "number" ? whole(value, "") : plain(value);
}

/** A number that fits a field of this name. */
function whole(value: number, name: string): number {
  const [least, most] = RANGES[name] ?? SAFE;
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${value} must be a whole number from ${least} to ${most}`);
  }
  return value;
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint" || typeof value === "symbol" || typeof value === "function") {
    throw new TypeError(`no answer can hold a ${typeof value}`);
  }
  return value ?? null;
}

/** Throws what `write` throws, with the path of the value. */
function locate(value: unknown, path: string): void {
  if (typeof value === "object" && value !== null && !(value instanceof Decimal) && !(value instanceof Uint8Array)) {
    for (const [name, inner] of Object.entries(value)) {
      locate(inner, `${path}.${name}`);
    }
    return;
  }
  try {
    write(typeof value === "number" ? { [path.slice(path.lastIndexOf(".") + 1)]: value } : value);
  } catch (error) {
    if (error instanceof Error) {
      error.message = `${path}: ${error.message}`;
    }
    throw error;
  }
}
