// What a policy is to its author: an object that reads the settings of a contract and rates usage. `definePolicy` makes the functions of
// the interface of it.

import { Decimal } from "./decimal.js";
import { encoded, exact, type Exact } from "./exact.js";
import { read as readForm, write as writeForm } from "./form.js";
import { log } from "./log.js";
import { Context, Refused, Usage, costOf, type Need, type Rating } from "./model.js";
import { Fields } from "./settings.js";
import type * as wire from "./wire.js";

/** A policy, over the settings of one contract. */
export interface Policy<Settings> {
  about: { name: string; version: string; summary: string; settingsSchema?: object; needs?: Need[] };
  /**
   * Reads the settings, once, into plain data: texts, numbers, Decimals, lists and objects. What is wrong is said with `fields.problem`.
   */
  settings(fields: Fields): Settings;
  counters?(settings: Settings): wire.Counter[];
  /** The features that are priced, and the credit type of each; every feature in "credits" without it. */
  features?(settings: Settings): { feature: string | null; credit: string }[];
  /** What pays outstanding overage; "purchases" without it. */
  settleOverageFrom?(settings: Settings): "purchases" | "reset" | "never";
  periodCategories?(settings: Settings): string[];
  /** What a usage costs; throws `Refused` where it may not happen. */
  rate(usage: Usage, context: Context, settings: Settings): Rating;
  /** What happens when the credits do not suffice; denied without it, or where it throws `Refused`. */
  overage?(
    usage: Usage,
    rating: Exact<wire.Rating>,
    shortfall: Decimal,
    context: Context,
    settings: Settings,
  ): Exact<wire.OverageOutcome>;
  close?(closing: Exact<wire.Closing>, context: Context, settings: Settings): Partial<Exact<wire.CloseOutcome>>;
  open?(opening: Exact<wire.Opening>, context: Context, settings: Settings): Partial<Exact<wire.OpenOutcome>>;
}

/** The functions of the interface, which the policy's module exports. */
export interface Exports {
  describe(): wire.Manifest;
  prepare(settings: string): wire.Prepared;
  rate(usage: wire.Usage, context: wire.Context, form: Uint8Array): wire.Rating;
  overage(
    usage: wire.Usage,
    rating: wire.Rating,
    shortfall: wire.Decimal,
    context: wire.Context,
    form: Uint8Array,
  ): wire.OverageOutcome;
  close(closing: wire.Closing, context: wire.Context, form: Uint8Array): wire.CloseOutcome;
  open(opening: wire.Opening, context: wire.Context, form: Uint8Array): wire.OpenOutcome;
}

/** Makes the functions of the interface: `export const { describe, prepare, rate, overage, close, open } = definePolicy({ … })`. */
export function definePolicy<Settings>(policy: Policy<Settings>): Exports {
  const settingsOf = (form: Uint8Array): Settings => readForm(form) as Settings;
  return {
    describe: () =>
      answer("describe", () => {
        const { name, version, summary, settingsSchema = {}, needs = [] } = policy.about;
        return { name, version, summary, settingsSchema: JSON.stringify(settingsSchema), needs };
      }),
    prepare: (text) => answer("prepare", () => prepare(policy, text)),
    rate: (usage, context, form) =>
      answer("rate", () => {
        const rating = policy.rate(new Usage(usage), new Context(context), settingsOf(form));
        return { credit: "credits", drawOrder: [], ...rating, cost: costOf(rating) };
      }),
    overage: (usage, rating, shortfall, context, form) =>
      answer("overage", () => {
        const missing = exact(shortfall);
        try {
          if (policy.overage === undefined) {
            throw Refused.denied("insufficient_credits", `${missing.toString()} credits are missing`);
          }
          return policy.overage(new Usage(usage), exact(rating), missing, new Context(context), settingsOf(form));
        } catch (error) {
          if (error instanceof Refused) {
            return { tag: "deny", val: error.refusal };
          }
          throw error;
        }
      }),
    close: (closing, context, form) =>
      answer("close", () => {
        const outcome = policy.close?.(exact(closing), new Context(context), settingsOf(form)) ?? {};
        return { rollOver: [], expire: [], fees: [], settle: [], notes: [], ...outcome };
      }),
    open: (opening, context, form) =>
      answer("open", () => {
        const outcome = policy.open?.(exact(opening), new Context(context), settingsOf(form)) ?? {};
        return { issue: [], settle: [], notes: [], ...outcome };
      }),
  };
}

function prepare<Settings>(policy: Policy<Settings>, text: string): Exact<wire.Prepared> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Problems([{ pointer: "", detail: `is no JSON: ${error instanceof Error ? error.message : String(error)}` }]);
  }
  const { value, problems } = Fields.all(json, (fields) => policy.settings(fields));
  if (problems.length > 0) {
    throw new Problems(problems);
  }
  return {
    form: writeForm(value),
    counters: policy.counters?.(value) ?? [],
    features: policy.features?.(value) ?? [{ feature: null, credit: "credits" }],
    settleOverageFrom: policy.settleOverageFrom?.(value) ?? "purchases",
    periodCategories: policy.periodCategories?.(value) ?? [],
  };
}

class Problems {
  constructor(readonly problems: wire.Problem[]) {}
}

/**
 * Runs a function of the interface to its end. The runtime makes a `result`'s error of whatever is thrown, so that a TypeError could pass
 * for a refusal: what is neither a refusal nor the problems of settings becomes a trap, with its text in the log.
 */
function answer<T>(name: keyof Exports, run: () => unknown): T {
  let said: unknown;
  let isError = false;
  try {
    try {
      said = run();
    } catch (error) {
      isError = true;
      if (error instanceof Refused && name === "rate") {
        said = error.refusal;
      } else if (error instanceof Problems && name === "prepare") {
        said = error.problems;
      } else if (error instanceof Refused) {
        throw new TypeError(`${name} can't refuse (${error.refusal.code}: ${error.refusal.detail})`);
      } else {
        throw error;
      }
    }
    said = encoded(said, name);
  } catch (fault) {
    log(fault instanceof Error ? `${fault.name}: ${fault.message}\n${fault.stack ?? ""}`.trimEnd() : `thrown: ${String(fault)}`);
    return trap();
  }
  if (isError) {
    throw said;
  }
  return said as T;
}

/** A value that no type of the interface has: the runtime gives up on it. */
function trap(): never {
  return Symbol("a fault of the policy") as never;
}

// A module's random numbers would be the same in every decision, since its state was stored when it was built.
Math.random = () => {
  throw new TypeError("a policy has no randomness");
};
