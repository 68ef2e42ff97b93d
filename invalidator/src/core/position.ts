import { formatLsn, type Lsn } from '@tidemark/proto';

/** Where a server stands, and which one it is. */
export interface ServerPosition {
  readonly lsn: Lsn;
  readonly systemId: bigint;
  readonly timeline: number;
}

/** The stream that is followed, and the server that it comes from. */
export interface Followed {
  readonly epoch: number;
  readonly systemId: bigint;
  readonly timeline: number;
}

/** Body of `GET /v1/position`. */
export interface PositionAnswer {
  readonly source: string;
  readonly epoch: number;
  readonly lsn: string;
}

/** Body of `GET /v1/flushed/{topic}`: every write below the offset is in the database at the position. */
export interface FlushedAnswer extends PositionAnswer {
  readonly topic: string;
  readonly offset: number;
}

/**
 * A position as sidecars may compare it. A server that is not the one that is followed (another one took over, and the stream
 * does not know yet) counts its positions differently: undefined then.
 */
export function positionIn(
  source: string,
  followed: Followed | undefined,
  server: ServerPosition,
): PositionAnswer | undefined {
  if (followed === undefined || followed.systemId !== server.systemId || followed.timeline !== server.timeline)
    return undefined;
  return { source, epoch: followed.epoch, lsn: formatLsn(server.lsn) };
}
