// A policy that does what JavaScript makes easy to get wrong: each feature is one such thing.

import { Decimal, Refused, definePolicy, priced } from "../sdk/index.js";
import type { Context, Line, Usage } from "../sdk/index.js";

const ONE = Decimal.of(1);
/** What lives on where globals do. */
let decided = 0;

function line(quantity: Decimal): Line {
  return priced("it", quantity, ONE);
}

/** Past the compiler, as a value does that comes of JSON or of a library without types. */
function any(value: unknown): never {
  return value as never;
}

const FEATURES: Record<string, (usage: Usage, context: Context) => Line[]> = {
  exact: () => [line(Decimal.of("0.1")), line(Decimal.of("0.2"))],
  rounded_up: () => [priced("it", Decimal.of("0.000001"), Decimal.of("0.0000001"))],
  rounded_down: () => [priced("it", Decimal.of("0.000001"), Decimal.of("0.0000001"), "down"), line(ONE)],
  largest: () => [line(Decimal.of("999999999999999.999999999999"))],
  beyond: () => [line(Decimal.of("9007199254740993"))],
  total_beyond: (_usage, context) => [line(context.balances[0]?.granted ?? ONE)],
  nan: () => [{ ...line(ONE), quantity: any({ whole: Number.NaN, part: 0 }) }],
  fraction: () => [{ ...line(ONE), quantity: any({ whole: 0.5, part: 0 }) }],
  infinite: () => [line(Decimal.of(1 / 0))],
  bigint: () => [{ ...line(ONE), quantity: any(5n) }],
  added: () => [line(any((ONE as unknown as number) + 1))],
  compared: () => [line(ONE < Decimal.ZERO ? ONE : Decimal.ZERO)],
  type_error: () => any(undefined)["missing"],
  thrown_text: () => {
    throw "insufficient_credits";
  },
  like_a_refusal: () => {
    throw { kind: "denied", code: "looks_like_one", detail: "it is none", retryAt: null, suggestions: [] };
  },
  refused: () => {
    throw Refused.denied("said_no", "it did", { suggestions: [{ detail: "less", attributes: [], quantities: [{ name: "tokens", amount: ONE }] }] });
  },
  invalid: () => {
    throw Refused.invalid("no_price", "there is none");
  },
  globals: () => {
    decided += 1;
    return [line(Decimal.of(decided))];
  },
  random: () => [line(Decimal.of(Math.floor(Math.random() * 100)))],
  clock: () => [line(Decimal.of(Date.now()))],
  today: () => [line(Decimal.of(new Date().getDate()))],
  endless: () => {
    for (;;) {
      decided += 1;
    }
  },
  deep: (usage, context) => FEATURES["deep"]?.(usage, context).concat([]) ?? [],
  hungry: () => {
    const held: number[][] = [];
    for (;;) {
      held.push(new Array<number>(10_000).fill(1));
    }
  },
};

export const { describe, prepare, rate, overage, close, open } = definePolicy<{ priority: number; refuseToOpen: boolean }>({
  about: { name: "hazards", version: "1.0.0", summary: "What JavaScript makes easy to get wrong.", needs: ["balances"] },
  settings: (fields) => ({
    priority: Number(fields.optionalDecimal("priority")?.toString() ?? 0),
    refuseToOpen: fields.optionalText("open") === "refuse",
  }),
  rate: (usage, context) => ({ lines: FEATURES[usage.feature]?.(usage, context) ?? [] }),
  open: (opening, _context, { priority, refuseToOpen }) => {
    if (refuseToOpen) {
      throw Refused.denied("not_here", "a period can't be refused");
    }
    return {
      issue: [
        {
          credit: "credits", amount: Decimal.of(1000), category: "plan", priority, effectiveAt: null, expires: { at: null, withPeriod: null },
          features: [], costBasis: null, allowance: opening.allowance,
        },
      ],
    };
  },
});
