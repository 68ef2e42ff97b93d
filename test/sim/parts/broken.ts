import type { Coalescer } from '../../../sidecar/src/core/coalescer.ts';
import type { L2Failure, L2Found, L2Store, UnloggedFound } from '../../../sidecar/src/core/ports.ts';
import type { ReplicaView, SourceReplica } from '../../../sidecar/src/core/replica.ts';

/** A replica as a part of a sidecar sees it that lacks a guard. */
export function brokenView(replica: SourceReplica, broken: Partial<ReplicaView> | undefined): ReplicaView {
  if (broken === undefined) return replica;
  return new Proxy(replica, {
    get: (target, name) => {
      const value: unknown = name in broken ? Reflect.get(broken, name) : Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** A Redis whose answers are other than they are. */
export function brokenStore(store: L2Store, found: ((found: L2Found) => L2Found) | undefined): L2Store {
  if (found === undefined) return store;
  return new Proxy<L2Store>(store, {
    get: (target, name) => {
      if (name === 'read')
        return async (...args: Parameters<L2Store['read']>): Promise<L2Found | UnloggedFound | L2Failure> => {
          const answer = await target.read(...args);
          return typeof answer === 'string' || answer.context === undefined ? answer : found(answer);
        };
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** A coalescer that forgets who came when. */
export function passingToAll(coalescer: Coalescer): Coalescer {
  return new Proxy(coalescer, {
    get: (target, name) => {
      if (name === 'passed')
        return (...[namespace, flight, { entry }]: Parameters<Coalescer['passed']>): void =>
          target.passed(namespace, flight, { entry, load: Number.POSITIVE_INFINITY });
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
