//! Keeps clients of the network from loading extensions into the process. DuckDB installs and loads one by itself for a
//! function, a type, a setting or a file that it does not know and the extension does.
#pragma once

#include "duckdb.hpp"

namespace quack {

//! As long as one is there, its thread serves a client of the network, and DuckDB loads no extension in it.
class ServesClient {
public:
	ServesClient();
	~ServesClient();
	ServesClient(const ServesClient &) = delete;
	ServesClient &operator=(const ServesClient &) = delete;
};

//! Puts a check before what installs and loads the extensions of the process.
void GuardExtensions(duckdb::DatabaseInstance &instance);

} // namespace quack
