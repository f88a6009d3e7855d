/** The engines that run on this machine, for suites that run on each. */
import { messageOf } from '../../shared/errors.ts';

/** Why the Linux engine does not run here; undefined when it does. */
export const whyNotLinux: string | undefined = await (async () => {
  if (process.platform !== 'linux') return `this is ${process.platform}`;
  try {
    const { loadLibc } = await import('../../shared/platform/linux/libc.ts');
    await loadLibc();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
})();

if (whyNotLinux !== undefined) console.log(`the Linux engine is not tested: ${whyNotLinux}`);

export type EngineName = 'portable' | 'linux';
export const engines: readonly EngineName[] =
  whyNotLinux === undefined ? ['portable', 'linux'] : ['portable'];

/** What the integration suites run on. */
export const lanesAndEngines = engines.flatMap((engine) =>
  (['dedicated', 'multiplexed'] as const).map((lane) => [lane, engine] as const),
);
