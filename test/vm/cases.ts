import { messageOf } from '../../shared/errors.ts';

/** A case may take this long, milliseconds: a busy machine that emulates a processor is slow. */
const CASE_MS = 160_000;
/** So may what it waits for, to be said with a better reason. */
export const WAIT_MS = 150_000;

/** Runs cases, and says a line for each. */
export class Cases {
  passed = 0;
  failed = 0;
  private readonly group: string;

  constructor(group: string) {
    this.group = group;
  }

  /** @returns whether it passed; a failure is said with its reason, and nothing is thrown */
  async case(name: string, body: () => Promise<void>, limitMs = CASE_MS): Promise<boolean> {
    const begin = performance.now();
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        if (limitMs !== Number.POSITIVE_INFINITY)
          timer = setTimeout(() => reject(new Error(`not done within ${limitMs / 1000} s`)), limitMs);
      });
      await Promise.race([body(), late]);
    } catch (error) {
      this.failed++;
      console.log(`FAILED ${this.group}: ${name}`);
      for (const line of messageOf(error).split('\n').slice(0, 30)) console.log(`       | ${line}`);
      return false;
    } finally {
      clearTimeout(timer);
    }
    this.passed++;
    console.log(`ok  ${this.group}: ${name} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
    return true;
  }
}

/** @throws saying what was expected of what */
export function same(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: got ${a}, expected ${b}`);
}

export function matches(text: string, pattern: RegExp, what: string): void {
  if (!pattern.test(text)) throw new Error(`${what}: expected ${pattern} in:\n${text}`);
}
