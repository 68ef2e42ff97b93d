import { beginSmall } from './memory.ts';

beginSmall();
const { main } = await import('./sidecar.ts');
await main();
