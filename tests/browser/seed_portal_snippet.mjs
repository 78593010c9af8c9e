import crypto from 'node:crypto'

app.post('/api/portal-link', async (req, res) => {
  const { customer } = await resolveBillingFromSession(req)  // your auth → cus_xxx
  const timestamp = Math.floor(Date.now() / 1000)
  const signature = crypto
    .createHmac('sha256', process.env.BACKSTOP_EMBED_SECRET)
    .update(customer + '\n' + timestamp)
    .digest('hex')

  const r = await fetch('https://www.trybackstop.com/api/embed/portal', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ workspace: 'your-slug', customer, timestamp, signature }),
  })
  const { url } = await r.json()
  res.json({ url })  // your frontend redirects the customer to this
})
