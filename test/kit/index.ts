export { positive, readArguments } from './arguments.ts';
export { type Authority, type CertificateFiles, makeAuthority } from './certificates.ts';
export { KitError, type Progress, silent, toStderr } from './error.ts';
export { onParentGone } from './guard.ts';
export { type KafkaOptions, type KafkaServer, startKafka } from './kafka.ts';
export { type ProcessEvent, type ProcessHandle, describeExit } from './handle.ts';
export { type Link, type Links, type Trouble, startLinks } from './links.ts';
export { type MemcachedOptions, type MemcachedServer, startMemcached } from './memcached.ts';
export { freePort } from './ports.ts';
export { Forwarder } from './forwarder.ts';
export {
  type PostgresPair,
  type PostgresPairOptions,
  type PromotionOptions,
  startPostgresPair,
} from './postgres-pair.ts';
export { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts';
export type { RedisFlavour } from './redis-install.ts';
export { type RedisCluster, type RedisClusterNode, startRedisCluster } from './redis-cluster.ts';
export { type RedisSentinels, startSentinels } from './redis-sentinels.ts';
export { type RedisOptions, type RedisServer, type RedisSnapshot, startRedis } from './redis.ts';
export { type Scratch, scratchFolder } from './scratch.ts';
export {
  type ServerAddresses,
  type Servers,
  type ServersOptions,
  addressesOf,
  attachServers,
  startServers,
} from './servers.ts';
export type { StackConfig } from './place.ts';
export {
  type Environment,
  type ServiceHandle,
  type SidecarHandle,
  type Stack,
  type StackOptions,
  createStack,
  startStack,
} from './stack.ts';
export type { Role } from './tidemark.ts';
