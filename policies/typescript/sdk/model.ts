// What a policy is asked about, and what it can say.

import { Decimal, type Rounding } from "./decimal.js";
import { exact, type Exact } from "./exact.js";
import type * as wire from "./wire.js";

/** What of the context `rate` reads. What is not needed is left out, since it costs time in every decision. */
export type Need = "balances" | "grants" | "customer-attributes" | "entity-attributes";

/** Whether a moment's local time lies between two: from the first minute on, and before the second, which may be that of the next day. */
export function isBetween({ hour, minute }: wire.Moment, from: number, to: number): boolean {
  const now = hour * 60 + minute;
  return from <= to ? from <= now && now < to : from <= now || now < to;
}

/** The instant of the next local midnight, at this moment's offset, in microseconds. */
export function nextMidnight({ at, hour, minute, second }: wire.Moment): number {
  const day = 86_400_000_000;
  const inSecond = ((at % 1_000_000) + 1_000_000) % 1_000_000;
  return at + day - ((hour * 60 + minute) * 60 + second) * 1_000_000 - inSecond;
}

/** What was used. */
export class Usage {
  constructor(readonly wire: wire.Usage) {}

  get feature(): string {
    return this.wire.feature;
  }

  get occurredAt(): wire.Moment {
    return this.wire.occurredAt;
  }

  /** Who used it; undefined when the usage names nobody. */
  get entity(): string | undefined {
    return this.wire.entities[0]?.id;
  }

  /** A quantity by name; zero when it is not there. */
  quantity(name: string): Decimal {
    const found = this.wire.quantities.find((quantity) => quantity.name === name);
    return found === undefined ? Decimal.ZERO : Decimal.fromWire(found.amount);
  }

  get quantities(): { name: string; amount: Decimal }[] {
    return exact(this.wire.quantities);
  }

  attribute(name: string): string | undefined {
    return this.wire.attributes.find((attribute) => attribute.name === name)?.value;
  }

  /** Whether a refusal can keep it from happening: a commit reports work that was done. */
  get isRefusable(): boolean {
    return this.wire.purpose !== "commit";
  }
}

/** A number that a counter keeps, as it was before the usage that is decided. */
export class Counted {
  constructor(
    readonly used: Decimal,
    readonly held: Decimal,
  ) {}

  /** What is used, and what open reservations hold: what a cap compares, so that requests in flight can't pass it. */
  total(): Decimal {
    return this.used.plus(this.held);
  }

  /** Where prices that depend on a total go on: a reservation is to hold enough, so it goes on behind what others hold. */
  before(usage: Usage): Decimal {
    return usage.wire.purpose === "reserve" ? this.total() : this.used;
  }
}

/** All that a policy knows beside the usage. */
export class Context {
  constructor(readonly wire: wire.Context) {}

  get now(): wire.Moment {
    return this.wire.now;
  }

  /** Filled where the policy needs "balances", and in `overage`, `close` and `open`. */
  get balances(): Exact<wire.Balance>[] {
    return exact(this.wire.balances);
  }

  /** Filled where the policy needs "grants", and in `close` and `open`; in the order in which they are drawn. */
  get grants(): Exact<wire.Grant>[] {
    return exact(this.wire.grants);
  }

  /** The counter at this place of the list that `counters` returned. */
  counter(place: number): Counted {
    const found = this.wire.counters[place];
    if (found === undefined) {
      throw new RangeError(`this policy declared no counter ${place}`);
    }
    return new Counted(Decimal.fromWire(found.used), Decimal.fromWire(found.held));
  }
}

/** A part of a cost, for people. */
export type Line = Exact<wire.Line>;

/** A quantity at a price. */
export function priced(label: string, quantity: Decimal, unitCost: Decimal, rounding: Rounding = "up"): Line {
  return { label, quantity, unitCost, cost: quantity.times(unitCost, rounding) };
}

/** What a usage costs: the sum of its lines. */
export interface Rating {
  lines: Line[];
  /** The credit type; "credits" without it. */
  credit?: string;
  /** Ids of grants to draw first; the others follow in the host's order. */
  drawOrder?: string[];
}

export function costOf(rating: Rating): Decimal {
  return rating.lines.reduce((sum, line) => sum.plus(line.cost), Decimal.ZERO);
}

/** What a refusal may say beside its reason. */
export interface Advice {
  /** The earliest time at which asking again can help, in microseconds since 1970. */
  retryAt?: number | undefined;
  /** Usages that would be allowed, or cheaper. */
  suggestions?: Exact<wire.Suggestion>[];
}

/** A business refusal, to be thrown. Anything else that is thrown is a fault of the policy, and charges nothing. */
export class Refused {
  private constructor(readonly refusal: Exact<wire.Refusal>) {}

  /** 402: another time, or with more credits, it may be allowed. */
  static denied(code: string, detail: string, advice: Advice = {}): Refused {
    return Refused.of("denied", code, detail, advice);
  }

  /** 422: such a usage has no price. */
  static invalid(code: string, detail: string, advice: Advice = {}): Refused {
    return Refused.of("invalid", code, detail, advice);
  }

  private static of(kind: string, code: string, detail: string, { retryAt, suggestions = [] }: Advice): Refused {
    return new Refused({ kind, code, detail, retryAt: retryAt ?? null, suggestions });
  }
}

/** What is left of a grant does not expire. */
export const NEVER: wire.Expiry = { at: null, withPeriod: null };
/** It expires with the period in which the grant becomes usable; `{ at: null, withPeriod: n }` is the n-th period after that one. */
export const WITH_ITS_PERIOD: wire.Expiry = { at: null, withPeriod: 0 };

/** Credits to issue when a period begins; they expire with the period unless `more` says otherwise. */
export function allowance(
  amount: Decimal,
  opening: Exact<wire.Opening>,
  more: Partial<Exact<wire.NewGrant>> = {},
): Exact<wire.NewGrant> {
  return {
    credit: "credits",
    amount,
    category: "plan",
    priority: 0,
    effectiveAt: null,
    expires: WITH_ITS_PERIOD,
    features: [],
    costBasis: null,
    allowance: opening.allowance,
    ...more,
  };
}
