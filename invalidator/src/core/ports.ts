import type { Lsn } from '@tidemark/proto';

/** The two clocks and the timers; tests pass a hand-driven one. */
export interface Clock {
  /** Milliseconds since some point in the past, never set back. */
  monotonicMs(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Runs once after a delay. Calling the answer prevents it. */
  after(delayMs: number, run: () => void): () => void;
}

/** What the stream tells its reader, in the order of the WAL. None of these may throw. */
export interface StreamHandlers {
  /** A pgoutput message. The buffer is the handler's. */
  readonly onMessage: (bytes: Buffer) => void;
  /** A keepalive: everything before this position was sent. */
  readonly onKeepalive: (end: Lsn) => void;
  /** The connection ended or is unusable. Called at most once; nothing is delivered afterwards. */
  readonly onFailure: (error: Error) => void;
}

/** One replication connection to the slot. */
export interface ChangeStream {
  /** Process id of the walsender. */
  readonly backendPid: number;
  /** Stops delivery soon: what was received already is still delivered (at most one read of the socket). */
  pause(): void;
  resume(): void;
  /** Everything before this position is durable downstream; the slot may forget it. Sent now and in every reply. */
  confirm(position: Lsn): void;
  /** Asks the server for a sign of life, which comes as a keepalive. */
  ping(): void;
  close(): Promise<void>;
}

/** What a Lease says (coordination.k8s.io/v1, LeaseSpec). */
export interface LeaseRecord {
  /** '' where nobody has it. */
  readonly holder: string;
  readonly durationS: number;
  /** By the holder's clock, since 1970; for people only. 0 where nobody ever had it. */
  readonly acquiredAtMs: number;
  readonly renewedAtMs: number;
  /** How often it has changed hands. */
  readonly transitions: number;
}

/** A lease as it is stored. */
export interface StoredLease {
  readonly record: LeaseRecord;
  /** Changes with every write. */
  readonly version: string;
}

/**
 * Where one lease is kept. Everything rejects when the store cannot be asked, refuses, or does not answer in time; whether a
 * write was carried out is unknown then.
 */
export interface LeaseStore {
  read(): Promise<StoredLease | undefined>;
  /** `conflict`: there is one by now. */
  create(record: LeaseRecord): Promise<StoredLease | 'conflict'>;
  /** `conflict`: it has another version by now, or is gone. */
  update(record: LeaseRecord, version: string): Promise<StoredLease | 'conflict'>;
  /** Tells of changes soon; some may be missing, late or told twice. Resolves once stopped, never rejects. */
  watch(onChange: (lease: StoredLease) => void, stop: AbortSignal): Promise<void>;
}
