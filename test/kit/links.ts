import { type Progress, silent } from './error.ts';
import { startOwnLinks } from './own-links.ts';
import { startToxiproxy } from './toxiproxy.ts';
import { toxiproxyCommand } from './toxiproxy-install.ts';

/** What is done to the bytes between a client and a server. */
export type Trouble =
  /** Connections end, and new ones are refused. */
  | { readonly kind: 'refused' }
  /** What is sent that way vanishes; the connections stay until it is over. */
  | { readonly kind: 'silent'; readonly toward: 'both' | 'client' | 'server' }
  /** Answers come late. */
  | { readonly kind: 'slow'; readonly delayMs: number; readonly jitterMs: number }
  /** Every connection ends after so many bytes of answers, in the middle of one if it so happens. */
  | { readonly kind: 'torn'; readonly afterBytes: number };

/** A way from clients to a server, on a port of the loopback interface. */
export interface Link {
  /** Where clients connect. */
  readonly port: number;
  /** Leads to another server from now on; connections to the old one end. */
  aim(port: number): Promise<void>;
  /** In place of earlier trouble. */
  trouble(trouble: Trouble): Promise<void>;
  /** Passes everything on again; connections that lost bytes have ended then. */
  heal(): Promise<void>;
}

/** Makes links. */
export interface Links {
  /** @param target the server's port; 0 where it is not known yet, then until `aim` connections end at once */
  open(name: string, target: number): Promise<Link>;
  stop(): Promise<void>;
}

/** Toxiproxy from PATH, or built once where there is Go; else a proxy of our own, which does the same. */
export async function startLinks(progress: Progress = silent): Promise<Links> {
  const command = await toxiproxyCommand(progress);
  if (command !== undefined) return startToxiproxy(command);
  progress('there is no toxiproxy-server and no Go to build it: partitions are made by a proxy of our own');
  return startOwnLinks();
}
