import { describe, expect, it } from 'vitest';
import {
  duration,
  EnvError,
  flag,
  helpText,
  hostPorts,
  oneOf,
  optional,
  readEnv,
  required,
  text,
  withDefault,
} from './env.ts';

const spec = {
  brokers: required('TIDEMARK_KAFKA_BROKERS', { description: 'brokers', parse: hostPorts }),
  tls: withDefault('TIDEMARK_KAFKA_TLS', 'false', { description: 'whether TLS is spoken', parse: flag }),
  level: withDefault('TIDEMARK_LOG_LEVEL', 'info', { description: 'log level', parse: oneOf('info', 'warn') }),
  socket: optional('TIDEMARK_SOCKET', { description: 'a path', parse: text }),
  deadlineMs: withDefault('TIDEMARK_REDIS_DEADLINE', '50ms', {
    description: 'longest wait',
    parse: duration({ min: '1ms', max: '60s' }),
  }),
  password: optional('TIDEMARK_KAFKA_SASL_PASSWORD', {
    description: 'password',
    secret: true,
    parse: (found) => {
      if (found.length < 3) throw new Error('expected at least 3 characters');
      return found;
    },
  }),
};

function issuesOf(env: Record<string, string>): readonly string[] {
  try {
    readEnv(spec, env);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(EnvError);
    return (error as EnvError).issues;
  }
}

describe('readEnv', () => {
  it('gives typed settings with defaults, frozen', () => {
    const settings = readEnv(spec, { TIDEMARK_KAFKA_BROKERS: 'a:1, b:2', PATH: '/bin' });
    expect(settings).toEqual({
      brokers: ['a:1', 'b:2'],
      tls: false,
      level: 'info',
      deadlineMs: 50,
      socket: undefined,
      password: undefined,
    });
    expect(Object.isFrozen(settings)).toBe(true);
  });

  it('takes an empty value as unset', () => {
    expect(readEnv(spec, { TIDEMARK_KAFKA_BROKERS: 'a:1', TIDEMARK_SOCKET: '', TIDEMARK_KAFKA_TLS: '' })).toMatchObject(
      {
        socket: undefined,
        tls: false,
      },
    );
  });

  it('tells every issue at once, and no secret', () => {
    const issues = issuesOf({
      TIDEMARK_KAFKA_TLS: 'yes',
      TIDEMARK_KAFKA_SASL_PASSWORD: 'xy',
      TIDEMARK_REDIS_DEADLINE: '5m',
    });
    expect(issues).toEqual([
      'TIDEMARK_KAFKA_BROKERS: found nothing, expected a value (brokers)',
      'TIDEMARK_KAFKA_TLS: found "yes", expected true or false',
      'TIDEMARK_REDIS_DEADLINE: found "5m", expected a duration from 1ms to 60s, such as 250ms or 5s',
      'TIDEMARK_KAFKA_SASL_PASSWORD: found a value that cannot be used, expected at least 3 characters',
    ]);
  });

  it('refuses an unknown name and says which one was most likely meant', () => {
    expect(issuesOf({ TIDEMARK_KAFKA_BROKERS: 'a:1', TIDEMARK_LOGLEVEL: 'warn', TIDEMARK_ABC: '1' })).toEqual([
      'TIDEMARK_ABC: there is no such setting',
      'TIDEMARK_LOGLEVEL: there is no such setting, did you mean TIDEMARK_LOG_LEVEL?',
    ]);
  });

  it('lets names be that belong to other processes, to tests, and to Kubernetes', () => {
    const env = {
      TIDEMARK_KAFKA_BROKERS: 'a:1',
      TIDEMARK_POSTGRES_URL: 'x',
      TIDEMARK_TEST_SEED: '1',
      TIDEMARK_CACHE: '/tmp',
      TIDEMARK_SERVICE_HOST: '10.0.0.1',
      TIDEMARK_INVALIDATOR_SERVICE_PORT_HTTP: '7080',
      TIDEMARK_PORT: 'tcp://10.0.0.1:7080',
      TIDEMARK_PORT_7080_TCP_ADDR: '10.0.0.1',
    };
    expect(readEnv(spec, env, { alsoKnown: ['TIDEMARK_POSTGRES_URL'] }).brokers).toEqual(['a:1']);
  });

  it.each(['', 'a', 'a:', ':1', 'a:1,,b:2', 'a:1 b:2', 'a:99999'])('does not take "%s" for brokers', (found) => {
    expect(() => hostPorts(found)).toThrow('expected HOST:PORT');
  });
});

it('help names every variable with its default or state', () => {
  expect(helpText(spec).split('\n')).toEqual([
    '  TIDEMARK_KAFKA_BROKERS        brokers [required]',
    '  TIDEMARK_KAFKA_TLS            whether TLS is spoken [false]',
    '  TIDEMARK_LOG_LEVEL            log level [info]',
    '  TIDEMARK_SOCKET               a path [optional]',
    '  TIDEMARK_REDIS_DEADLINE       longest wait [50ms]',
    '  TIDEMARK_KAFKA_SASL_PASSWORD  password [optional]',
  ]);
});
