export const kafkaVersion = '4.3.1';

/** What one broker needs to be small and to come back soon; Kafka's defaults are for clusters. */
const defaults: Readonly<Record<string, string>> = {
  'process.roles': 'broker,controller',
  'node.id': '1',
  'controller.listener.names': 'CONTROLLER',
  'inter.broker.listener.name': 'PLAINTEXT',
  'auto.create.topics.enable': 'false',
  'offsets.topic.num.partitions': '1',
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.num.partitions': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'share.coordinator.state.topic.num.partitions': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  'group.initial.rebalance.delay.ms': '0',
  // With the default of 9 s a broker that was killed waits that long for its own old session.
  'broker.session.timeout.ms': '1000',
  'broker.heartbeat.interval.ms': '250',
  // Retention is looked at soon, so that a test can sleep through it.
  'log.initial.task.delay.ms': '500',
  'log.retention.check.interval.ms': '500',
  'log.segment.delete.delay.ms': '100',
};

/** A port for the clients of one proxy. */
export interface ProxyListener {
  /** The broker's own. */
  readonly port: number;
  /** What those clients are told: the proxy's. */
  readonly advertised: number;
}

export interface BrokerSettings {
  /** The folder for its data; the image's own where it is left out. */
  readonly data?: string;
  readonly port: number;
  readonly controllerPort: number;
  /** Where it listens for clients: 127.0.0.1, or all interfaces of a container. */
  readonly host?: string;
  readonly listeners?: readonly ProxyListener[];
  readonly more?: Readonly<Record<string, string>> | undefined;
}

function settings(broker: BrokerSettings): Record<string, string> {
  const { data, port, controllerPort, host = '127.0.0.1', listeners = [], more } = broker;
  const each = (text: (listener: ProxyListener, name: string) => string): string =>
    listeners.map((listener, index) => `,${text(listener, `PROXY${index}`)}`).join('');
  return {
    ...defaults,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT${each((_, name) => `${name}:PLAINTEXT`)}`,
    listeners: `PLAINTEXT://${host}:${port},CONTROLLER://127.0.0.1:${controllerPort}${each((listener, name) => `${name}://${host}:${listener.port}`)}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}${each((listener, name) => `${name}://127.0.0.1:${listener.advertised}`)}`,
    ...(data !== undefined && { 'log.dirs': data }),
    ...more,
  };
}

/** The text of server.properties. */
export function properties(broker: BrokerSettings): string {
  const lines = Object.entries(settings(broker)).map(([name, value]) => `${name}=${value}\n`);
  return lines.join('');
}

/** The same as the environment of the apache/kafka image. */
export function imageEnvironment(broker: BrokerSettings): Record<string, string> {
  const entries = Object.entries(settings(broker));
  return Object.fromEntries(
    entries.map(([name, value]) => [`KAFKA_${name.toUpperCase().replaceAll('.', '_')}`, value]),
  );
}
