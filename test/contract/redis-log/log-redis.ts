/** What the histories of a fence log ask of a Redis; ioredis has all of it. */
export interface LogRedis {
  get(key: string): Promise<string | null>;
  del(key: string): Promise<number>;
  keys(pattern: '*'): Promise<string[]>;
  keysBuffer(pattern: '*'): Promise<Buffer[]>;
  dumpBuffer(key: Buffer): Promise<Buffer>;
  restore(key: string, ttl: 0, dump: Buffer): Promise<unknown>;
  flushdb(): Promise<string>;
  eval(script: string, keyCount: number, ...rest: (string | number | Buffer)[]): Promise<unknown>;
  callBuffer(name: string, ...args: (string | number | Buffer)[]): Promise<unknown>;
}
