// Cheaper nights and weekends, with a daily cap for each user: the contract of ../../night-rates in TypeScript. Both pass the same
// cases.

import { Decimal, Refused, allowance, costOf, definePolicy, isBetween, nextMidnight, priced } from "../sdk/index.js";
import type { Context, Fields, Line, Usage, wire } from "../sdk/index.js";

const ALL = Decimal.of(100);

interface Price {
  feature: string | undefined;
  quantity: string;
  price: Decimal;
}

interface Settings {
  prices: Price[];
  night: { from: number; to: number; percent: Decimal } | undefined;
  weekendPercent: Decimal | undefined;
  dailyCap: Decimal | undefined;
  allowance: Decimal | undefined;
}

/** The name of the tariff at a time and what is paid of the day's price: the cheapest that applies. */
function tariff(settings: Settings, at: wire.Moment): { name: string; percent: Decimal } {
  let cheapest = { name: "", percent: ALL };
  const { night, weekendPercent } = settings;
  if (night !== undefined && isBetween(at, night.from, night.to)) {
    cheapest = { name: ", night", percent: night.percent };
  }
  if (weekendPercent !== undefined && at.weekday >= 6 && cheapest.percent.isAbove(weekendPercent)) {
    cheapest = { name: ", weekend", percent: weekendPercent };
  }
  return cheapest;
}

function percentOf(fields: Fields, name: string, value: Decimal | undefined): Decimal | undefined {
  if (value !== undefined && (value.isNegative() || value.isAbove(ALL))) {
    fields.problem(name, "must be 0 to 100");
  }
  return value;
}

function positive(fields: Fields, name: string): Decimal | undefined {
  const value = fields.optionalDecimal(name);
  if (value !== undefined && !value.isPositive()) {
    fields.problem(name, "must be above 0");
  }
  return value;
}

/** Refuses what would take a user beyond the day's cap. */
function checkCap(cap: Decimal, cost: Decimal, usage: Usage, context: Context): void {
  if (usage.entity === undefined) {
    throw Refused.invalid("entity_required", "with a daily cap for each user, usage must name its user");
  }
  const day = context.counter(0);
  if (!cost.isPositive() || !day.total().plus(cost).isAbove(cap)) {
    return;
  }
  // Midnight brings nothing for a day that is over, and what is only held may be free again at any time.
  const { occurredAt } = usage;
  const { now } = context;
  const today = occurredAt.year === now.year && occurredAt.month === now.month && occurredAt.day === now.day;
  const spent = day.used.plus(cost).isAbove(cap);
  throw Refused.denied(
    "daily_cap_reached",
    `the day's cap is ${cap.toString()} credits; ${day.used.toString()} are used and ${day.held.toString()} held by open reservations`,
    { retryAt: today && spent ? nextMidnight(now) : undefined },
  );
}

export const { describe, prepare, rate, overage, close, open } = definePolicy<Settings>({
  about: {
    name: "night-rates-typescript",
    version: "1.0.0",
    summary: "Cheaper nights and weekends in the customer's own time, with a daily cap for each user.",
  },

  settings: (fields) => ({
    prices: fields.list("prices", (price) => {
      const one = { feature: price.optionalText("feature"), quantity: price.text("quantity"), price: price.decimal("price") };
      if (one.price.isNegative()) {
        price.problem("price", "must not be negative");
      }
      return one;
    }),
    night: fields.optionalObject("night", (night) => ({
      from: night.time("from"),
      to: night.time("to"),
      percent: percentOf(night, "percent", night.decimal("percent")) ?? ALL,
    })),
    weekendPercent: percentOf(fields, "weekend_percent", fields.optionalDecimal("weekend_percent")),
    dailyCap: positive(fields, "daily_cap"),
    allowance: positive(fields, "allowance"),
  }),

  counters: ({ dailyCap }) =>
    dailyCap === undefined
      ? []
      : [{ name: "user_cost_today", measure: "cost", features: [], scope: "entity", window: "day" }],

  periodCategories: (settings) => (settings.allowance === undefined ? [] : ["plan"]),

  rate: (usage, context, settings) => {
    const { name, percent } = tariff(settings, usage.occurredAt);
    const lines: Line[] = [];
    let rated = false;
    for (const { name: quantity, amount } of usage.quantities) {
      const price = settings.prices.find(
        (one) => one.quantity === quantity && (one.feature === undefined || one.feature === usage.feature),
      );
      if (price === undefined) {
        continue;
      }
      rated = true;
      if (amount.isNegative()) {
        throw Refused.invalid("negative_quantity", `${quantity} is negative`);
      }
      if (amount.isPositive()) {
        const label = quantity.replaceAll("_", " ") + name;
        lines.push(priced(label, amount, price.price.percent(percent, "up")));
      }
    }
    if (!rated) {
      throw Refused.invalid("feature_not_rated", `no price matches this usage of ${usage.feature}`);
    }
    if (settings.dailyCap !== undefined && usage.isRefusable) {
      checkCap(settings.dailyCap, costOf({ lines }), usage, context);
    }
    return { lines };
  },

  open: (opening, _context, settings) => ({
    issue: settings.allowance === undefined ? [] : [allowance(settings.allowance, opening)],
  }),
});
