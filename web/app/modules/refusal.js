/** Why the app will not go on: a code that the message files put into words, and what to put in them. */
export class Refusal extends Error {
  /**
   * @param {string} code the message `refused.<code>`
   * @param {Record<string, string | number>} [values] what stands in the message's braces
   */
  constructor(code, values = {}) {
    super(`${code} ${JSON.stringify(values)}`);
    this.code = code;
    this.values = values;
  }
}
