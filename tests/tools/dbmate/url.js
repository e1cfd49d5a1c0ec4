// dbmate takes a URL only, and its Go driver would insist on TLS.
const { PGHOST = 'localhost', PGPORT = '5432', PGUSER = '', PGPASSWORD = '', PGDATABASE = '' } = process.env;
const [user, password, database] = [PGUSER, PGPASSWORD, PGDATABASE].map(encodeURIComponent);
const socket = PGHOST.startsWith('/');
const query = new URLSearchParams({ sslmode: 'disable', ...(socket && { socket: PGHOST }) });
console.log(`postgres://${user}:${password}@${socket ? '' : PGHOST}:${PGPORT}/${database}?${query}`);
