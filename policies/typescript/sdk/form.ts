// Settings as they are handed to every decision: what was read of them once, as JSON in ASCII, in which texts begin with ' and exact
// numbers with #. Reading it takes a fraction of what reading and checking the settings does.

import { Decimal } from "./decimal.js";

/** The form of what `settings` returned. Throws a TypeError for what is no plain data. */
export function write(settings: unknown): Uint8Array {
  const json = JSON.stringify(marked(settings, "settings"));
  // There is no TextEncoder here.
  const ascii = json.replace(
    /[^\x00-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return Uint8Array.from(ascii, (character) => character.charCodeAt(0));
}

/** What `write` was given. */
export function read(form: Uint8Array): unknown {
  let json = "";
  for (let at = 0; at < form.length; at += 1024) {
    json += String.fromCharCode(...form.subarray(at, at + 1024));
  }
  return unmarked(JSON.parse(json));
}

function marked(value: unknown, path: string): unknown {
  if (typeof value === "string") {
    return `'${value}`;
  }
  if (value instanceof Decimal) {
    return `#${value.units}`;
  }
  if (typeof value === "boolean" || value === null || (typeof value === "number" && Number.isFinite(value))) {
    return value;
  }
  if (Array.isArray(value)) {
    return value.map((item, place) => marked(item, `${path}.${place}`));
  }
  if (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined);
    return Object.fromEntries(fields.map(([name, field]) => [name, marked(field, `${path}.${name}`)]));
  }
  throw new TypeError(`${path}: what is read of settings must be texts, numbers, Decimals, lists and plain objects`);
}

function unmarked(value: unknown): unknown {
  if (typeof value === "string") {
    return value.charCodeAt(0) === 35 ? Decimal.ofUnits(BigInt(value.slice(1))) : value.slice(1);
  }
  if (typeof value === "object" && value !== null) {
    const fields = value as Record<string, unknown>;
    for (const name in fields) {
      fields[name] = unmarked(fields[name]);
    }
  }
  return value;
}
