export * from './calls.ts';
export * from './header.ts';
export * from './hot-list.ts';
export * from './layout.ts';
export * from './scripts.ts';
