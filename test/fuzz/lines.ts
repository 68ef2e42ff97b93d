/** Log lines of our processes, from a moment on. */
export class Lines {
  count = 0;
  /** Those of level error or worse, and what is no log line. */
  readonly errors: string[] = [];

  begin(): void {
    this.count = 0;
    this.errors.length = 0;
  }

  readonly take = (name: string, line: string): void => {
    this.count += 1;
    if (!/^\{"level":"(?:trace|debug|info|warn)"/.test(line)) this.errors.push(`${name} ${line.slice(0, 1_000)}`);
  };
}
