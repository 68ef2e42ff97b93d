import { ConfigFollower, ensureConfigTopic, publishConfig, type Logger } from '@tidemark/runtime';
import type { ConfigRecord, ConfigStamp } from '@tidemark/proto';
import type { Kafka } from 'kafkajs';

/** The configuration topic, as its only writer uses it. */
export interface ConfigLog {
  /** What readers hold: the newest document that is understood. */
  readonly held: ConfigRecord | undefined;
  /** Whether all that is in it was read once. */
  readonly isCaughtUp: boolean;
  /** Whether something older was written after what is held. */
  readonly isBuried: boolean;
  readonly isConnected: boolean;
  /** Makes it if it is missing. Rejects with a SettingError when it cannot serve. */
  ensure(): Promise<void>;
  append(record: ConfigStamp & { readonly document: object }): Promise<void>;
  close(): Promise<void>;
}

/** Begins to read at once. `onChange` is called whenever one of the members is another one. */
export function openConfigLog(options: {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly logger: Logger;
  readonly onChange: () => void;
}): ConfigLog {
  const { kafka, topic, logger, onChange } = options;
  let isCaughtUp = false;
  let buried: ConfigRecord | undefined;
  const follower: ConfigFollower = new ConfigFollower({
    kafka,
    topic,
    logger,
    onDocument: onChange,
    onCaughtUp: () => {
      isCaughtUp = true;
      onChange();
    },
    onIgnored: (why) => {
      if (why === 'older') buried = follower.held;
      onChange();
    },
  });
  return {
    get held() {
      return follower.held;
    },
    get isCaughtUp() {
      return isCaughtUp;
    },
    get isBuried() {
      return buried !== undefined && buried === follower.held;
    },
    get isConnected() {
      return follower.isConnected;
    },
    ensure: async () => void (await ensureConfigTopic(kafka, topic)),
    append: async (record) => void (await publishConfig(kafka, { ...record, topic })),
    close: () => follower.stop(),
  };
}
