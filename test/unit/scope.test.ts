import { describe, expect, it } from 'vitest';
import { Scope } from '../../shared/scope.ts';

describe('Scope', () => {
  it('aborts its signal, then closes in reverse order, once', async () => {
    const order: string[] = [];
    const scope = new Scope();
    scope.signal.addEventListener('abort', () => order.push('abort'));
    scope.defer(() => void order.push('first'));
    scope.defer(async () => {
      await Promise.resolve();
      order.push('second');
    });
    await Promise.all([scope.close(), scope.close()]);
    expect(order).toEqual(['abort', 'second', 'first']);
    expect(scope.closed).toBe(true);
  });

  it('closes the rest when one cleanup fails, and reports the failure', async () => {
    const order: string[] = [];
    const scope = new Scope();
    scope.defer(() => void order.push('first'));
    scope.defer(() => Promise.reject(new Error('second failed')));
    await expect(scope.close()).rejects.toThrow('second failed');
    expect(order).toEqual(['first']);
  });

  it('closes at once what is opened too late', async () => {
    const scope = new Scope();
    await scope.close();
    let closed = false;
    scope.defer(() => {
      closed = true;
    });
    await scope.close();
    expect(closed).toBe(true);
  });
});
