import { pino, type Logger, type LoggerOptions } from 'pino';

export type { Logger } from 'pino';

/** Levels that TIDEMARK_LOG_LEVEL may name. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One JSON object a line, on stdout unless that is for something else; every line names the service and the instance. */
export function createLogger(options: {
  readonly service: string;
  readonly instance: string;
  readonly level: LogLevel;
  readonly to?: 'stdout' | 'stderr';
}): Logger {
  const settings: LoggerOptions = {
    level: options.level,
    base: { service: options.service, instance: options.instance },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  return options.to === 'stderr' ? pino(settings, pino.destination(2)) : pino(settings);
}
