// Lists the migrations that are there in meta/_journal.json, as `drizzle-kit generate` would have.
const fs = require('fs');

const tags = fs.readdirSync('migrations').filter((name) => name.endsWith('.sql')).sort();
const entries = tags.map((name, idx) => {
  // A migration is pending if its `when` is later than that of the last one applied: one a day.
  const when = Date.UTC(2024, 0, 1 + parseInt(name, 10));
  return { idx, version: '7', when, tag: name.replace('.sql', ''), breakpoints: true };
});
const journal = { version: '7', dialect: 'postgresql', entries };
fs.mkdirSync('migrations/meta');
fs.writeFileSync('migrations/meta/_journal.json', JSON.stringify(journal, null, 2));
