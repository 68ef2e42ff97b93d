import { pino, type Logger } from 'pino';

export type { Logger } from 'pino';

/** Levels that TIDEMARK_LOG_LEVEL may name. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One JSON object a line on stdout; every line names the service and the instance. */
export function createLogger(options: {
  readonly service: string;
  readonly instance: string;
  readonly level: LogLevel;
}): Logger {
  return pino({
    level: options.level,
    base: { service: options.service, instance: options.instance },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}
