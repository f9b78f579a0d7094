import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// PROMETHEUS and PORT come from dev/preview/pictures.
declare const process: { env: Record<string, string | undefined> };

export default defineConfig({
  plugins: [react()],
  define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
  server: {
    host: '127.0.0.1',
    port: Number(process.env.PORT ?? 29200),
    strictPort: true,
    proxy: {
      '/prometheus': {
        target: process.env.PROMETHEUS ?? 'http://127.0.0.1:9090',
        rewrite: (path) => path.replace(/^\/prometheus/, ''),
      },
    },
  },
});
