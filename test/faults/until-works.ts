import { setTimeout as delay } from 'node:timers/promises';

/**
 * Tries again and again, until it works.
 * @param deadline as Date.now() has it
 * @throws Error that says what did not work within that time, and why not the last time
 */
export async function untilWorks(
  what: string,
  deadline: number,
  attempt: () => Promise<unknown>,
): Promise<void> {
  const seconds = ((deadline - Date.now()) / 1000).toFixed(1);
  for (;;) {
    try {
      await withinTime(attempt(), deadline);
      return;
    } catch (error) {
      if (Date.now() >= deadline)
        throw new Error(`${what} does not work within ${seconds} s: ${(error as Error).message}`);
      await delay(20);
    }
  }
}

async function withinTime<T>(work: Promise<T>, deadline: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), Math.max(1, deadline - Date.now()));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
