import type { Socket } from 'node:net';
import errors from 'kafkajs/src/errors.js';
import Connection from 'kafkajs/src/network/connection.js';
import Queue from 'kafkajs/src/network/requestQueue/index.js';

/*
 * kafkajs 2.2.4 as it must be for a process that may never silently stop hearing its stream. Each fix names what was seen;
 * the tests are kafka-fixes.test.ts and test/integration/record-reader.test.ts. kafkajs is pinned exactly: look at each of
 * these again before moving to another version.
 *
 * 1. A reconnect keeps the half-read response of the old socket: `Connection.connect()` resets neither `chunks` nor
 *    `bytesNeeded`, so after a cut in the middle of a response every later answer is misread, for good. Here a connect
 *    begins with empty buffers and the old socket is detached and destroyed: its late events would otherwise end the new
 *    connection. Two connects at once share one attempt (the original would leak one of two sockets).
 * 2. A response that cannot be parsed throws out of the socket's data handler (an uncaught exception), or rejects with a
 *    RangeError that kafkajs takes for a bug and never retries. Here it is a connection error: the bytes that follow
 *    cannot be trusted either, so the socket is destroyed and the request may be tried again.
 * 3. A request that times out leaves the socket in use, although a peer that was silent for so long is most likely gone.
 *    Here it destroys the socket.
 * 4. `RequestQueue.scheduleCheckPendingRequests` arms a timer of 1 ms again and again although nothing is pending (2.7 % of
 *    a core when idle, and Node's TimeoutNegativeWarning). Here it is armed only when something is pending.
 * 5. `disconnect()` only half-closes the socket, which then lives as long as the peer likes. Here it is destroyed once
 *    what was written has been sent.
 */

const DISCONNECTED = 'disconnected';
/** How often requests in flight are checked for their timeout, ms (the original: 100). */
const TIMEOUT_CHECK_MS = 250;
/** Largest response that is believed: twice the largest fetch that anything here asks for, and far below what garbage says. */
const MAX_RESPONSE_BYTES = 256 * 1024 * 1024;
const PENDING_CHECK_MS = 10;

interface SocketRequest {
  readonly sentAt: number | null;
  readonly requestTimeout: number;
  timeoutRequest(): void;
}

interface RequestQueue {
  readonly inflight: Map<number, SocketRequest>;
  readonly pending: readonly SocketRequest[];
  throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  requestTimeoutIntervalId: NodeJS.Timeout | undefined;
  readonly requestTimeout: number;
  readonly enforceRequestTimeout: boolean;
  isConnected(): boolean;
  checkPendingRequests(): void;
  waitForPendingRequests(): Promise<void>;
  destroy(): void;
  /** Ours: what a timeout does to the connection. */
  onTimeout?: () => void;
}

interface ProtocolCall {
  readonly response: { decode(payload: Buffer): Promise<unknown> };
}

/** The parts of kafkajs's Connection that are used here and by the record reader. */
export interface KafkaConnection {
  readonly host: string;
  readonly port: number;
  readonly connectionTimeout: number;
  socket: Socket | undefined;
  chunks: Buffer[];
  bytesBuffered: number;
  bytesNeeded: number;
  connectionStatus: string;
  authHandlers: { onError(): void } | null;
  authExpectResponse: boolean;
  authenticatedAt: unknown;
  readonly requestQueue: RequestQueue;
  isConnected(): boolean;
  connect(): Promise<true>;
  disconnect(): Promise<true>;
  send(call: ProtocolCall): Promise<unknown>;
  processData(data: Buffer): void;
  rejectRequests(error: Error): void;
  /** Ours: set by {@link abandonConnection}; such a connection never connects again. */
  abandoned?: boolean;
}

interface State {
  connecting?: { readonly promise: Promise<true>; readonly reject: (error: Error) => void } | undefined;
}

const states = new WeakMap<KafkaConnection, State>();
let isApplied = false;

/** Mends kafkajs in this process; calling it again does nothing. */
export function applyKafkaFixes(): void {
  if (isApplied) return;
  isApplied = true;
  fixRequestQueue(Queue.prototype as RequestQueue & Record<string, unknown>);
  fixConnection(Connection.prototype as KafkaConnection);
}

/** Ends a connection at once and for good: its requests reject, its socket is destroyed, and it never connects again. */
export function abandonConnection(connection: KafkaConnection): void {
  connection.abandoned = true;
  breakConnection(connection, connectionError(connection, 'the connection was given up'));
}

function fixConnection(prototype: KafkaConnection): void {
  // oxlint-disable-next-line typescript/unbound-method -- each is called with the connection as its this
  const { connect, processData, send } = prototype;

  prototype.connect = function (this: KafkaConnection): Promise<true> {
    if (this.isConnected()) return Promise.resolve(true);
    if (this.abandoned === true) return Promise.reject(connectionError(this, 'the connection was given up'));
    const state = stateOf(this);
    if (state.connecting !== undefined) return state.connecting.promise;
    reset(this, 'at-once');
    const { promise, resolve, reject } = Promise.withResolvers<true>();
    state.connecting = { promise, reject };
    // The original never settles when a TLS peer ends the connection in the middle of the handshake.
    const guard = setTimeout(
      () => breakConnection(this, connectionError(this, 'Connection timeout')),
      this.connectionTimeout + 500,
    );
    void promise.then(
      () => clearTimeout(guard),
      () => clearTimeout(guard),
    );
    this.requestQueue.onTimeout = () =>
      breakConnection(this, connectionError(this, 'a request was not answered in time'));
    connect.call(this).then(resolve, reject);
    return promise.finally(() => {
      state.connecting = undefined;
    });
  };

  prototype.disconnect = async function (this: KafkaConnection): Promise<true> {
    this.authenticatedAt = null;
    this.connectionStatus = 'disconnecting';
    await this.requestQueue.waitForPendingRequests();
    // Not the connecting promise: kafkajs calls this when a connect failed, and rejects with the cause afterwards.
    cut(this, connectionError(this, 'the connection was closed'), 'when-sent');
    return true;
  };

  prototype.processData = function (this: KafkaConnection, data: Buffer): void {
    try {
      processData.call(this, data);
      if (this.bytesNeeded > MAX_RESPONSE_BYTES) throw new RangeError(`it says that it has ${this.bytesNeeded} bytes`);
    } catch (error) {
      breakConnection(this, connectionError(this, `a response cannot be parsed: ${(error as Error).message}`));
    }
  };

  prototype.send = function (this: KafkaConnection, call: ProtocolCall): Promise<unknown> {
    const decode = async (payload: Buffer): Promise<unknown> => {
      try {
        return await call.response.decode(payload);
      } catch (error) {
        if (error instanceof errors.KafkaJSError) throw error;
        const wrapped = connectionError(this, `a response cannot be parsed: ${(error as Error).message}`);
        breakConnection(this, wrapped);
        throw wrapped;
      }
    };
    return send.call(this, { ...call, response: { ...call.response, decode } });
  };
}

function fixRequestQueue(prototype: RequestQueue & Record<string, unknown>): void {
  prototype['scheduleCheckPendingRequests'] = function (this: RequestQueue): void {
    if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return;
    const throttledMs = this.throttledUntil - Date.now();
    this.throttleCheckTimeoutId = setTimeout(
      () => {
        this.throttleCheckTimeoutId = null;
        this.checkPendingRequests();
      },
      throttledMs > 0 ? throttledMs : PENDING_CHECK_MS,
    );
  };

  prototype['scheduleRequestTimeoutCheck'] = function (this: RequestQueue): void {
    if (!this.enforceRequestTimeout) return;
    this.destroy();
    const check = (): void => {
      const now = Date.now();
      const late = [...this.inflight.values()].filter(
        ({ sentAt, requestTimeout }) => sentAt !== null && now - sentAt > requestTimeout,
      );
      for (const request of late) request.timeoutRequest();
      if (late.length > 0) this.onTimeout?.();
      else if (!this.isConnected() && this.inflight.size === 0) this.destroy();
    };
    this.requestTimeoutIntervalId = setInterval(check, Math.min(this.requestTimeout, TIMEOUT_CHECK_MS));
  };
}

/** Everybody who waits for a connection is told that it is over. */
function breakConnection(connection: KafkaConnection, error: Error): void {
  cut(connection, error, 'at-once');
  stateOf(connection).connecting?.reject(error);
}

function cut(connection: KafkaConnection, error: Error, end: 'at-once' | 'when-sent'): void {
  connection.connectionStatus = DISCONNECTED;
  connection.authenticatedAt = null;
  connection.authHandlers?.onError();
  connection.rejectRequests(error);
  connection.requestQueue.destroy();
  reset(connection, end);
}

/** Leaves a connection without a socket and without half-read bytes. */
function reset(connection: KafkaConnection, end: 'at-once' | 'when-sent'): void {
  connection.chunks = [];
  connection.bytesBuffered = 0;
  connection.bytesNeeded = 4;
  connection.authHandlers = null;
  connection.authExpectResponse = false;
  const { socket } = connection;
  connection.socket = undefined;
  if (socket === undefined) return;
  for (const event of ['data', 'end', 'error', 'timeout', 'connect', 'secureConnect']) socket.removeAllListeners(event);
  socket.on('error', () => undefined);
  if (end === 'at-once' || socket.connecting) socket.destroy();
  else socket.unref().destroySoon();
}

function stateOf(connection: KafkaConnection): State {
  let state = states.get(connection);
  if (state === undefined) states.set(connection, (state = {}));
  return state;
}

function connectionError(connection: KafkaConnection, message: string): Error {
  return new errors.KafkaJSConnectionError(message, { broker: `${connection.host}:${connection.port}` });
}
