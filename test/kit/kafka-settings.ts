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

/** A port for clients that speak TLS and log in. */
export interface SecureListener {
  readonly port: number;
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
  /** Passwords of those who log in with PLAIN. */
  readonly users: Readonly<Record<string, string>>;
}

export interface BrokerSettings {
  /** The folder for its data; the image's own where it is left out. */
  readonly data?: string;
  readonly port: number;
  readonly controllerPort: number;
  /** Where it listens for clients: 127.0.0.1, or all interfaces of a container. */
  readonly host?: string;
  readonly listeners?: readonly ProxyListener[];
  readonly secure?: SecureListener | undefined;
  readonly more?: Readonly<Record<string, string>> | undefined;
}

function settings(broker: BrokerSettings): Record<string, string> {
  const { data, port, controllerPort, host = '127.0.0.1', listeners = [], secure, more } = broker;
  const named = [
    ...listeners.map((listener, index) => ({ ...listener, name: `PROXY${index}`, protocol: 'PLAINTEXT' })),
    ...(secure === undefined
      ? []
      : [{ port: secure.port, advertised: secure.port, name: 'SECURE', protocol: 'SASL_SSL' }]),
  ];
  const each = (text: (listener: (typeof named)[number]) => string): string =>
    named.map((listener) => `,${text(listener)}`).join('');
  return {
    ...defaults,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT${each(({ name, protocol }) => `${name}:${protocol}`)}`,
    listeners: `PLAINTEXT://${host}:${port},CONTROLLER://127.0.0.1:${controllerPort}${each((listener) => `${listener.name}://${host}:${listener.port}`)}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}${each((listener) => `${listener.name}://127.0.0.1:${listener.advertised}`)}`,
    ...(data !== undefined && { 'log.dirs': data }),
    ...(secure !== undefined && secureSettings(secure)),
    ...more,
  };
}

function secureSettings({ cert, key, users }: SecureListener): Record<string, string> {
  const plain = Object.entries(users).map(([name, password]) => ` user_${name}="${password}"`);
  const modules = 'org.apache.kafka.common.security';
  const scram = `${modules}.scram.ScramLoginModule required;`;
  return {
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'ssl.keystore.type': 'PEM',
    // On one line each: how a line break is written differs between a file and an environment.
    'ssl.keystore.certificate.chain': cert.trim().replaceAll('\n', ' '),
    'ssl.keystore.key': key.trim().replaceAll('\n', ' '),
    'listener.name.secure.plain.sasl.jaas.config': `${modules}.plain.PlainLoginModule required${plain.join('')};`,
    'listener.name.secure.scram-sha-256.sasl.jaas.config': scram,
    'listener.name.secure.scram-sha-512.sasl.jaas.config': scram,
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
    entries.map(([name, value]) => [`KAFKA_${name.toUpperCase().replaceAll('-', '___').replaceAll('.', '_')}`, value]),
  );
}
