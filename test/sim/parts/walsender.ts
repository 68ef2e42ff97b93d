import type { ChangeStream, StreamHandlers } from '../../../invalidator/src/core/ports.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import type { Channel } from './network.ts';
import type { Server, WalRecord } from './postgres.ts';
import { messagesOf } from './publication.ts';
import type { SimClock } from './time.ts';

/** The server's end of one replication connection, and the client's end of it (invalidator/src/adapters/postgres-stream.ts). */
export class WalSender implements ChangeStream {
  readonly backendPid = 1;
  readonly #server: Server;
  readonly #channel: Channel;
  readonly #clock: SimClock;
  readonly #handlers: StreamHandlers;
  /** Of the next record in the WAL. */
  #index: number;
  #position: number;
  #knowsRelation = false;
  #isPaused = false;
  #isEnded = false;
  #isCutOff = false;
  #isPinged = false;
  readonly #underWay: (() => void)[] = [];

  /** Throws the server's error when the slot cannot be started. */
  constructor(options: { server: Server; channel: Channel; clock: SimClock; handlers: StreamHandlers }) {
    const { server } = options;
    server.assertUp();
    if (server.slot === undefined || server.slot.isLost)
      throw Object.assign(new Error('the slot cannot be started'), { code: '55000', severity: 'ERROR' });
    this.#server = server;
    this.#channel = options.channel;
    this.#clock = options.clock;
    this.#handlers = options.handlers;
    const { confirmed } = server.slot;
    this.#position = confirmed;
    const { systemId, wal } = server;
    const index = wal.findIndex((record) => record.start >= confirmed && record.server.systemId === systemId);
    this.#index = index < 0 ? wal.length : index;
  }

  /** Whether something could arrive now. */
  get isBusy(): boolean {
    if (this.#isEnded || this.#isPaused || this.#clock.isAsleep) return false;
    return (
      !this.#server.isUp || this.#isCutOff || this.#underWay.length > 0 || this.#isPinged || this.#next() !== undefined
    );
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Some messages arrive, now and then with a keepalive behind them. */
  step(dice: Dice): void {
    const { slot, isUp } = this.#server;
    if (!isUp || this.#isCutOff || slot === undefined || slot.isLost) {
      this.fail();
      return;
    }
    if (this.#underWay.length === 0) this.#send(dice);
    for (let count = 1 + dice.below(8); count > 0 && !this.#isPaused && !this.#isEnded; count--)
      this.#underWay.shift()?.();
  }

  /** The server has ended the connection; the client notices when it reads. */
  cutOff(): void {
    this.#isCutOff = true;
  }

  fail(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#handlers.onFailure(new Error('the replication stream ended'));
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
  }

  confirm(position: number): void {
    this.#channel.tell(() => {
      const { slot } = this.#server;
      if (!this.#isEnded && !this.#isCutOff && slot !== undefined && position > slot.confirmed)
        slot.confirmed = position;
    });
  }

  ping(): void {
    this.#isPinged = true;
  }

  close(): Promise<void> {
    this.#isEnded = true;
    return Promise.resolve();
  }

  #next(): WalRecord | undefined {
    return this.#server.wal[this.#index];
  }

  #send(dice: Dice): void {
    const record = this.#next();
    if (record !== undefined) {
      this.#index += 1;
      this.#position = record.end;
      const messages = messagesOf(record, this.#knowsRelation);
      this.#knowsRelation ||= record.rows.some(({ sent }) => sent);
      // DDL makes the server describe the relation again.
      if (record.kind === 'ddl') this.#knowsRelation = false;
      for (const message of messages) this.#underWay.push(() => this.#handlers.onMessage(message));
    }
    if (this.#isPinged || dice.chance(0.3)) {
      this.#isPinged = false;
      const end = this.#next() === undefined ? this.#server.insertLsn : this.#position;
      this.#underWay.push(() => this.#handlers.onKeepalive(end));
    }
  }
}
