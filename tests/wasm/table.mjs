// Prints, as JSON, the columns of numbers that the page finds in files.
//   node table.mjs file ...
import { readFileSync } from 'node:fs';
import { columnKinds, parseTable } from '../../page/src/table.js';

const found = process.argv.slice(2).map((file) => {
  const table = parseTable(readFileSync(file, 'utf8'));
  const columns = columnKinds(table).flatMap(({ numeric }, i) => {
    const cells = table.rows.map((row) => (row[i] === '' ? null : Number(row[i])));
    return numeric ? [[table.names[i], cells]] : [];
  });
  return Object.fromEntries(columns);
});
console.log(JSON.stringify(found));
