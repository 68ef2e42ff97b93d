-- The shop of the demo. Every row has a version that each update raises by one: the checker compares it with what a
-- sidecar served. An application needs no such column.
create table products (
  id       int primary key,
  name     text not null,
  category text not null,
  stock    int not null,
  version  int not null default 1
);

-- The category pages list the products of a category.
create index on products (category, id);

create table prices (
  product_id int not null references products,
  currency   text not null,
  cents      int not null,
  version    int not null default 1,
  primary key (product_id, currency)
);

create table customers (
  id      int primary key,
  name    text not null,
  version int not null default 1
);

create table orders (
  id          bigint generated always as identity primary key,
  customer_id int not null references customers,
  product_id  int not null references products,
  ordered_at  timestamptz not null default now()
);

create index on orders (customer_id);

-- Rules name columns outside the primary key (the tag of a category page, the key of an order's customer), and an update
-- or a delete must evict what the old row was part of: so Postgres has to log old rows in full.
alter table products replica identity full;
alter table orders replica identity full;

insert into products (id, name, category, stock)
select n, 'Product ' || n, 'category-' || n % 20, 1000
from generate_series(1, 500) n;

-- The row that the latency probe updates; no reader asks for it.
insert into products (id, name, category, stock) values (0, 'Probe', 'none', 0);

insert into prices (product_id, currency, cents)
select p.id, c.currency, 100 + p.id * 7 % 9000
from products p, unnest(array['EUR', 'GBP', 'USD']) c (currency);

insert into customers (id, name)
select n, 'Customer ' || n
from generate_series(1, 300) n;
