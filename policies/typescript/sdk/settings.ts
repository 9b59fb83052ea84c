// Reads a contract's settings field by field. What is wrong is collected with its JSON pointer, so that whoever writes the settings is
// told everything at once, and a field that nothing reads is wrong, too.

import { Decimal } from "./decimal.js";
import type { Problem } from "./wire.js";

/** A local time of the day: minutes since midnight. */
export type TimeOfDay = number;

/** The fields of one JSON object. */
export class Fields {
  private readonly read = new Set<string>();

  private constructor(
    private readonly fields: Record<string, unknown>,
    private readonly pointer: string,
    private readonly problems: Problem[],
  ) {}

  /** Reads `json` with `read`; all problems that were met come with it. */
  static all<T>(json: unknown, read: (fields: Fields) => T): { value: T; problems: Problem[] } {
    const problems: Problem[] = [];
    return { value: Fields.of(json, "", problems, read), problems };
  }

  private static of<T>(json: unknown, pointer: string, problems: Problem[], read: (fields: Fields) => T): T {
    const isObject = typeof json === "object" && json !== null && !Array.isArray(json);
    if (!isObject) {
      problems.push({ pointer, detail: "must be an object" });
    }
    const fields = new Fields(isObject ? (json as Record<string, unknown>) : {}, pointer, problems);
    const value = read(fields);
    for (const name of Object.keys(fields.fields)) {
      if (!fields.read.has(name)) {
        fields.problem(name, "is not known");
      }
    }
    return value;
  }

  /** Says that a field is wrong; without a name, that the object is. */
  problem(name: string, detail: string): void {
    const at = name === "" ? "" : `/${name.replace(/~/g, "~0").replace(/\//g, "~1")}`;
    this.problems.push({ pointer: this.pointer + at, detail });
  }

  /** A field's value if it is there; `null` counts as absent. */
  private take(name: string): unknown {
    this.read.add(name);
    return Object.hasOwn(this.fields, name) ? (this.fields[name] ?? undefined) : undefined;
  }

  private one<T>(name: string, what: string, parse: (value: unknown) => T | undefined): T | undefined {
    const value = this.take(name);
    if (value === undefined) {
      return undefined;
    }
    const parsed = parse(value);
    if (parsed === undefined) {
      this.problem(name, `must be ${what}`);
    }
    return parsed;
  }

  private required<T>(name: string, value: T | undefined, otherwise: T): T {
    if (value === undefined && (!Object.hasOwn(this.fields, name) || this.fields[name] === null)) {
      this.problem(name, "is missing");
    }
    return value ?? otherwise;
  }

  optionalText(name: string): string | undefined {
    return this.one(name, "text", (value) => (typeof value === "string" ? value : undefined));
  }

  text(name: string): string {
    return this.required(name, this.optionalText(name), "");
  }

  /** An exact number: a decimal as text, or a whole number. */
  optionalDecimal(name: string): Decimal | undefined {
    return this.one(name, "a decimal as text, such as \"0.5\", or a whole number", (value) => {
      try {
        return typeof value === "string" || typeof value === "number" ? Decimal.of(value) : undefined;
      } catch (error) {
        if (error instanceof RangeError) {
          return undefined;
        }
        throw error;
      }
    });
  }

  decimal(name: string): Decimal {
    return this.required(name, this.optionalDecimal(name), Decimal.ZERO);
  }

  /** A local time such as `"22:30"`. */
  optionalTime(name: string): TimeOfDay | undefined {
    return this.one(name, "a time of day such as \"22:30\"", (value) => {
      const found = typeof value === "string" ? /^([01]\d|2[0-3]):([0-5]\d)$/.exec(value) : null;
      return found === null ? undefined : Number(found[1]) * 60 + Number(found[2]);
    });
  }

  time(name: string): TimeOfDay {
    return this.required(name, this.optionalTime(name), 0);
  }

  /** An object within this one. */
  optionalObject<T>(name: string, read: (fields: Fields) => T): T | undefined {
    const value = this.take(name);
    return value === undefined ? undefined : Fields.of(value, `${this.pointer}/${name}`, this.problems, read);
  }

  /** A list of objects. */
  list<T>(name: string, read: (fields: Fields) => T): T[] {
    const value = this.required(name, this.one(name, "a list", (list) => (Array.isArray(list) ? list : undefined)), []);
    return value.map((item, place) => Fields.of(item, `${this.pointer}/${name}/${place}`, this.problems, read));
  }
}
