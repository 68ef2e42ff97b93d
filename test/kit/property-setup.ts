import { configureGlobal } from 'fast-check';

// Arrays of ten elements at the most, whatever `maxLength` says, is what fast-check makes unless it is told otherwise
// (fast-check.dev/docs/configuration/global-settings): sequences of steps then hardly ever come to a limit.
configureGlobal({ defaultSizeToMaxWhenMaxSpecified: true });
