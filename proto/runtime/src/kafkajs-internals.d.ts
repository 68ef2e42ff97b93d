/* What kafka-fixes.ts needs of kafkajs and kafkajs does not export. */

declare module 'kafkajs/src/errors.js' {
  const errors: Record<
    'KafkaJSConnectionError' | 'KafkaJSError',
    new (message: string, options?: { broker: string }) => Error
  >;
  export default errors;
}

declare module 'kafkajs/src/network/connection.js' {
  const connection: { readonly prototype: unknown };
  export default connection;
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  const queue: { readonly prototype: unknown };
  export default queue;
}
