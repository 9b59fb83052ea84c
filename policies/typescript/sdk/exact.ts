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

/** The whole numbers that have fewer bits than a time or an amount, by the name of their field. */
const RANGES: Record<string, [number, number]> = {
  priority: [-(2 ** 31), 2 ** 31 - 1],
  withPeriod: [0, 2 ** 32 - 1],
};

/**
 * What the interface takes. Throws a RangeError for a number that would arrive as another one: a fraction or a NaN would be 0, and what
 * has too many bits would lose some.
 */
export function encoded(value: unknown, path: string): unknown {
  if (value instanceof Decimal) {
    return value.toWire();
  }
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number": {
      const [least, most] = RANGES[path.slice(path.lastIndexOf(".") + 1)] ?? [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
      if (!Number.isInteger(value) || value < least || value > most) {
        throw new RangeError(`${path} is ${value}: it must be a whole number from ${least} to ${most}`);
      }
      return value;
    }
    case "undefined":
      return null;
    case "object":
      if (value === null || value instanceof Uint8Array) {
        return value;
      }
      if (Array.isArray(value)) {
        return value.map((item, place) => encoded(item, `${path}.${place}`));
      }
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, encoded(inner, `${path}.${name}`)]));
    default:
      throw new TypeError(`${path} is a ${typeof value}, which no answer can hold`);
  }
}
