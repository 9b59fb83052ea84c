// The types of the interface (wit/v1) as the component's runtime hands them over and takes them.

export interface Decimal { whole: number; part: number }
export interface Moment {
  /** Microseconds since 1970-01-01T00:00:00Z. */
  at: number;
  year: number; month: number; day: number;
  hour: number; minute: number; second: number;
  /** Monday is 1, Sunday is 7. */
  weekday: number;
  /** Seconds to add to UTC to get local time. */
  offsetSeconds: number;
}
export interface Attribute { name: string; value: string }
export interface Quantity { name: string; amount: Decimal }
export interface Entity { id: string; attributes: Attribute[] }
export interface Period { number: number; start: Moment; end: Moment | null }
export interface Usage {
  feature: string;
  quantities: Quantity[];
  attributes: Attribute[];
  entities: Entity[];
  occurredAt: Moment;
  purpose: string;
  period: Period;
  late: boolean;
}
export interface Money { amount: Decimal; currency: string }
export interface Balance {
  credit: string; granted: Decimal; used: Decimal; reserved: Decimal; available: Decimal;
  restricted: Decimal; overage: Decimal; heldOverage: Decimal;
}
export interface Expiry { at: number | null; withPeriod: number | null }
export interface Grant {
  id: string; credit: string; category: string; priority: number; amount: Decimal; remaining: Decimal; held: Decimal;
  effectiveAt: number; expires: Expiry; features: string[]; costBasis: Money | null;
}
export interface Customer { id: string; plan: string | null; attributes: Attribute[] }
export interface Contract { id: string; start: Moment; end: Moment | null }
export interface Counted { used: Decimal; held: Decimal }
export interface Context {
  customer: Customer; now: Moment; period: Period; termsEffectiveAt: Moment; contract: Contract | null; timeZone: string;
  balances: Balance[]; grants: Grant[]; counters: Counted[];
}
export interface Line { label: string; quantity: Decimal; unitCost: Decimal; cost: Decimal }
export interface Rating { credit: string; cost: Decimal; lines: Line[]; drawOrder: string[] }
export interface Suggestion { detail: string; attributes: Attribute[]; quantities: Quantity[] }
export interface Refusal {
  kind: string; code: string; detail: string; retryAt: number | null; suggestions: Suggestion[];
}
export interface Offer { code: string; label: string; credits: Decimal; price: Money | null }
export interface TopUp { amount: Decimal; priority: number; expires: Expiry; costBasis: Money | null }
export type OverageOutcome =
  | { tag: "deny"; val: Refusal }
  | { tag: "allow"; val: Decimal }
  | { tag: "require-purchase"; val: Offer[] }
  | { tag: "top-up"; val: TopUp }
  | { tag: "reduce"; val: Quantity[] };
export interface Rollover {
  grant: string; amount: Decimal; heldShare: Decimal; heldLimit: Decimal; priority: number; expires: Expiry;
}
export interface Fee { credit: string; label: string; amount: Decimal; method: string }
export interface Settlement { credit: string; amount: Decimal | null; method: string }
export interface CloseOutcome { rollOver: Rollover[]; expire: string[]; fees: Fee[]; settle: Settlement[]; notes: string[] }
export interface NewGrant {
  credit: string; amount: Decimal; category: string; priority: number; effectiveAt: number | null; expires: Expiry;
  features: string[]; costBasis: Money | null; allowance: string;
}
export interface OpenOutcome { issue: NewGrant[]; settle: Settlement[]; notes: string[] }
export interface Cycle { start: Moment; end: Moment | null }
export interface Closing { period: Period; cycle: Cycle; reason: string }
export interface Opening {
  period: Period; reason: string; cycle: Cycle; allowance: string; given: { credit: string; amount: Decimal }[];
}
export interface Counter { name: string; measure: string; features: string[]; scope: string; window: string }
export interface Manifest { name: string; version: string; summary: string; settingsSchema: string; needs: string[] }
export interface Prepared {
  form: Uint8Array; counters: Counter[]; features: { feature: string | null; credit: string }[];
  settleOverageFrom: string; periodCategories: string[];
}
export interface Problem { pointer: string; detail: string }
