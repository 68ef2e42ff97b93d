import type { RequestListener, Server } from 'node:http';
import { createHttpServer, type ServerLimits } from '@tidemark/runtime';

/** A server for one listener. */
export function createListener(listener: RequestListener, limits: ServerLimits): Server {
  const server = createHttpServer(listener, limits);
  // Otherwise Node asks for the body before anybody could refuse it; body.ts asks instead.
  server.removeAllListeners('checkContinue').on('checkContinue', listener);
  return server;
}

/** Later requests go to another listener; those that are under way end where they began. */
export function replaceListener(server: Server, before: RequestListener, after: RequestListener): void {
  server.off('request', before).on('request', after);
  server.off('checkContinue', before).on('checkContinue', after);
}
