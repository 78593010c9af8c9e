// stripe-sync-engine behind Node's own HTTP server: the raw body and the signature go to processWebhook, and 200 follows.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'

// Its ES module does not find its own migrations.
const { StripeSync, runMigrations } = createRequire(import.meta.url)('@supabase/stripe-sync-engine')

const { BENCH_DATABASE, BENCH_SECRET, BENCH_PORT } = process.env
await runMigrations({ databaseUrl: BENCH_DATABASE, schema: 'stripe', logger: { info() {}, error: console.error } })
const sync = new StripeSync({
  poolConfig: { connectionString: BENCH_DATABASE, max: 10, keepAlive: true },
  stripeSecretKey: 'sk_test_bench',
  stripeWebhookSecret: BENCH_SECRET,
  backfillRelatedEntities: false,
  autoExpandLists: false,
})

createServer((request, response) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', async () => {
    try {
      await sync.processWebhook(Buffer.concat(parts), request.headers['stripe-signature'])
      response.writeHead(200, { 'Content-Length': 2 }).end('ok')
    } catch (problem) {
      console.error(problem)
      response.writeHead(400, { 'Content-Length': 0 }).end()
    }
  })
}).listen(Number(BENCH_PORT), '127.0.0.1', () => console.log('ready'))
