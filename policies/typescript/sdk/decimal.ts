// Exact numbers with 12 decimal places. JavaScript's own numbers are doubles: a price of 0.1 is none of them, and whole numbers are
// rounded in silence above 2^53. Credits, quantities and prices are therefore `Decimal`s, over whole units of 10^-12.

import type { Decimal as Wire } from "./wire.js";

/** Where what lies between two numbers goes. */
export type Rounding = "up" | "down";

const PLACES = 12;
const ONE = 10n ** BigInt(PLACES);
const TEXT = /^(-?)(\d+)(?:\.(\d{1,12}))?$/;

/** An exact number: credits, a quantity or a price. */
export class Decimal {
  static readonly ZERO = new Decimal(0n);

  /** `units` is the number times 10^12. */
  private constructor(readonly units: bigint) {}

  /** Of the number times 10^12. */
  static ofUnits(units: bigint): Decimal {
    return new Decimal(units);
  }

  /** Of text such as `"0.002"`, or of a whole number. Throws a RangeError for anything else: fractions are written as text. */
  static of(value: string | number): Decimal {
    if (typeof value === "number") {
      if (!Number.isSafeInteger(value)) {
        throw new RangeError(`${value} is no whole number below 2^53; write a fraction as text, such as "0.5"`);
      }
      return new Decimal(BigInt(value) * ONE);
    }
    const found = TEXT.exec(value);
    if (found === null) {
      throw new RangeError(`${JSON.stringify(value)} is no decimal number with up to ${PLACES} places`);
    }
    const [, sign, whole = "0", part = ""] = found;
    const units = BigInt(whole) * ONE + BigInt(part.padEnd(PLACES, "0"));
    return new Decimal(sign === "-" ? -units : units);
  }

  /** Of a number as the interface hands it over. Throws a RangeError where a double has lost digits. */
  static fromWire({ whole, part }: Wire): Decimal {
    if (!Number.isSafeInteger(whole) || !Number.isSafeInteger(part)) {
      throw new RangeError("a number of 2^53 or more has lost digits on its way to JavaScript");
    }
    return new Decimal(BigInt(whole) * ONE + BigInt(part));
  }

  /** As the interface takes it. Throws a RangeError for what a double can't hold. */
  toWire(): Wire {
    const wire = { whole: Number(this.units / ONE), part: Number(this.units % ONE) };
    if (!Number.isSafeInteger(wire.whole)) {
      throw new RangeError(`${this} is 2^53 or more in size`);
    }
    return wire;
  }

  plus(other: Decimal): Decimal {
    return new Decimal(this.units + other.units);
  }

  minus(other: Decimal): Decimal {
    return new Decimal(this.units - other.units);
  }

  /** The product, rounded to 12 places. */
  times(other: Decimal, rounding: Rounding): Decimal {
    return new Decimal(divided(this.units * other.units, ONE, rounding));
  }

  /** So many percent of it, rounded to 12 places. */
  percent(percent: Decimal, rounding: Rounding): Decimal {
    return new Decimal(divided(this.units * percent.units, 100n * ONE, rounding));
  }

  /** Negative, zero or positive, as for `sort`. */
  compare(other: Decimal): number {
    return this.units < other.units ? -1 : this.units > other.units ? 1 : 0;
  }

  isAbove(other: Decimal): boolean {
    return this.units > other.units;
  }

  isZero(): boolean {
    return this.units === 0n;
  }

  isNegative(): boolean {
    return this.units < 0n;
  }

  isPositive(): boolean {
    return this.units > 0n;
  }

  toString(): string {
    const size = this.units < 0n ? -this.units : this.units;
    const part = (size % ONE).toString().padStart(PLACES, "0").replace(/0+$/, "");
    return `${this.units < 0n ? "-" : ""}${size / ONE}${part === "" ? "" : `.${part}`}`;
  }

  /** Comparing by `<` or adding by `+` would go through doubles. */
  valueOf(): never {
    throw new TypeError("a Decimal is no number: use compare, isAbove, plus, minus and times");
  }

  toJSON(): string {
    return this.toString();
  }
}

/** The quotient; "up" is away from zero. */
function divided(number: bigint, by: bigint, rounding: Rounding): bigint {
  const rest = number % by;
  const quotient = number / by;
  if (rest === 0n || rounding === "down") {
    return quotient;
  }
  return quotient + (number < 0n ? -1n : 1n);
}
