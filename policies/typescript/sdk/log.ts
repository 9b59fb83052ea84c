declare global {
  /** The interface's one import, which the component's runtime offers as a global function. */
  function log(message: string): void;
}

/** Leaves lines with the decision. Bounded in number and length; the rest is dropped. */
export function log(message: string): void {
  for (const line of message.split("\n")) {
    globalThis.log(line);
  }
}
