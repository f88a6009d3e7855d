/** What is said where macOS denies a port; it was never run there. */
import { expect, it } from 'vitest';
import { diagnosis } from '../../../../shared/ports/diagnosis/macos.ts';

const { whyDenied } = diagnosis;

it('TCP ports below 1024: any user may have them at all addresses', async () => {
  const single = await whyDenied({ protocol: 'tcp', ip: '127.0.0.1', port: 80 });
  expect(single).toMatch(
    /^macOS gives ports below 1024 to any user at 0\.0\.0\.0, and at one address to root/,
  );
  expect(single).toContain('--wildcard-privileged');
  expect(await whyDenied({ protocol: 'tcp', ip: '::1', port: 1023 })).toContain('to any user at ::, and');
  const all = await whyDenied({ protocol: 'tcp', ip: '0.0.0.0', port: 80 });
  expect(all).toBe('ports below 1024 are for root here; take a port from 1024 on');
});

it.each(['0.0.0.0', '127.0.0.1'])(
  'UDP ports below 1024 at %s: nothing but root or another port helps',
  async (ip) => {
    const why = await whyDenied({ protocol: 'udp', ip, port: 53 });
    expect(why).toMatch(
      /^UDP ports below 1024 are for root here: macOS gives them to any user at 0\.0\.0\.0 only/,
    );
    expect(why).not.toContain('--wildcard-privileged');
  },
);

it('nothing is known of other ports', async () => {
  expect(await whyDenied({ protocol: 'tcp', ip: '127.0.0.1', port: 1024 })).toBeUndefined();
});
