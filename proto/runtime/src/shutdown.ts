import type { Logger } from './logger.ts';

/** One thing to end, in order. */
export interface ShutdownStep {
  readonly name: string;
  readonly run: () => Promise<void> | void;
}

/**
 * Ends things in the order given. A step that fails is logged and does not keep the next from running; when all of them
 * together take longer than `deadlineMs`, the rest is left as it is. Resolves to whether everything ended well.
 */
export async function shutdown(options: {
  readonly steps: readonly ShutdownStep[];
  readonly deadlineMs: number;
  readonly logger: Logger;
}): Promise<boolean> {
  const { steps, deadlineMs, logger } = options;
  let current = '';
  let clean = true;
  const work = async (): Promise<'done'> => {
    for (const step of steps) {
      current = step.name;
      try {
        await step.run();
      } catch (error) {
        clean = false;
        logger.error({ err: error, step: step.name }, 'a step of the shutdown failed');
      }
    }
    return 'done';
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, deadlineMs, 'late');
  });
  const outcome = await Promise.race([work(), late]);
  clearTimeout(timer);
  if (outcome === 'late') logger.error({ step: current, deadlineMs }, 'the shutdown took too long and is cut short');
  return clean && outcome === 'done';
}

/** Why a process ends. */
export type StopReason = { readonly signal: NodeJS.Signals } | { readonly error: unknown };

/**
 * Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. Also resolves when `failed` rejects, so
 * that a part that cannot go on ends the process in good order (a supervisor starts it again).
 */
export function untilStopped(failed?: Promise<never>): Promise<StopReason> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(130);
        asked = true;
        resolve({ signal });
      });
    }
    failed?.catch((error: unknown) => resolve({ error }));
  });
}

/**
 * The last lines of a service: waits for a reason to stop, runs the steps and ends the process with 0 after a signal, or
 * 1 after an error or an unclean end.
 */
export async function runUntilSignal(options: {
  readonly logger: Logger;
  readonly steps: readonly ShutdownStep[];
  readonly deadlineMs: number;
  readonly failed?: Promise<never>;
}): Promise<never> {
  const reason = await untilStopped(options.failed);
  if ('error' in reason) options.logger.error({ err: reason.error }, 'stopping because a part failed');
  else options.logger.info({ signal: reason.signal }, 'stopping');
  const clean = await shutdown(options);
  options.logger.info({ clean }, 'stopped');
  process.exit(clean && 'signal' in reason ? 0 : 1);
}
