import type { Exit } from './child.ts';

/** What a process does, told to whoever shows or records it. */
export type ProcessEvent =
  | { readonly kind: 'ready'; readonly name: string; readonly pid: number; readonly starts: number }
  | {
      readonly kind: 'exit';
      readonly name: string;
      readonly pid: number;
      readonly exit: Exit;
      readonly willRestart: boolean;
    };

/** A process of the kit: a server, or one of ours. */
export interface ProcessHandle {
  readonly name: string;
  /** Whether the kit runs it; false for a server that was named by its address. */
  readonly owned: boolean;
  /** The process id, or undefined while it is dead. It changes with every start. */
  readonly pid: number | undefined;
  /** How often it became ready. */
  readonly starts: number;
  /** How it ended, each time. */
  readonly exits: readonly Exit[];
  /** Sends a signal (SIGKILL unless told) and waits until the process is gone. A supervised one then comes back by itself. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
  /** SIGSTOP: it is there but does nothing. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** Starts it, if it is dead, on its own data and address; settles when it is ready. */
  start(): Promise<void>;
  /** Stops it in good order (or with the signal given) and starts it again; settles when it is ready. */
  restart(signal?: NodeJS.Signals): Promise<void>;
  /** Stops supervising: what dies stays dead until `release`. Does not end it. */
  hold(): void;
  /** Supervises again, and starts it if it is dead; settles when it is ready. */
  release(): Promise<void>;
  /** Settles when it is running and ready, now or after a restart that is under way. */
  ready(): Promise<void>;
  /** Ends it for good. */
  stop(): Promise<void>;
  /** Its newest log lines, oldest first. */
  logs(count?: number): string[];
}

export function describeExit(exit: Exit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}
