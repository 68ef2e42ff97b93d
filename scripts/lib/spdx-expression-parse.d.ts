declare module 'spdx-expression-parse' {
  /** @throws Error for what is no SPDX licence expression */
  export default function parse(expression: string): unknown;
}
