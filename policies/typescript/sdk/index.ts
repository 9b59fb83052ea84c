// What authors of policies in TypeScript use.
export { Decimal, type Rounding } from "./decimal.js";
export type { Exact } from "./exact.js";
export { log } from "./log.js";
export * from "./model.js";
export { definePolicy, type Exports, type Policy } from "./policy.js";
export { Fields, type TimeOfDay } from "./settings.js";
export type * as wire from "./wire.js";
