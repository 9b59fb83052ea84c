// The terms of one contract: begin here. All that a policy can say: `docs/typescript.md` of Proviso.

import { definePolicy, priced } from "../sdk/index.js";

export const { describe, prepare, rate, overage, close, open } = definePolicy({
  about: { name: "{{name}}", version: "1.0.0", summary: "The terms of one contract." },

  // What differs from customer to customer.
  settings: (fields) => {
    const price = fields.decimal("price");
    if (price.isNegative()) {
      fields.problem("price", "must not be negative");
    }
    return { price };
  },

  rate: (usage, _context, { price }) => ({ lines: [priced("tokens", usage.quantity("tokens"), price)] }),
});
