//! Carries failures across the border between C++ and Rust.
#pragma once

#include "bridge.h"
#include "duckdb.hpp"
#include "duckdb/common/error_data.hpp"

namespace quack {

constexpr int32_t NO_ERROR = -1;

inline QuackError NoError() {
	return QuackError {NO_ERROR, nullptr};
}

inline QuackBytes Bytes(const duckdb::string &text) {
	return QuackBytes {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

inline duckdb::string Text(QuackBytes bytes) {
	return duckdb::string(reinterpret_cast<const char *>(bytes.data), bytes.length);
}

//! Throws what Rust has reported, if anything, as the DuckDB exception that it is.
inline void ThrowIfError(QuackError &error) {
	if (error.kind == NO_ERROR) {
		return;
	}
	duckdb::string message(error.message ? error.message : "unknown error");
	quack_cpp_free(error.message);
	auto kind = static_cast<duckdb::ExceptionType>(error.kind);
	error = NoError();
	duckdb::ErrorData(kind, message).Throw();
}

//! Runs `body` for Rust: an exception becomes a `QuackError`.
template <class BODY>
void Guard(QuackError *error, BODY &&body) {
	*error = NoError();
	duckdb::ErrorData data;
	try {
		body();
		return;
	} catch (std::exception &ex) {
		data = duckdb::ErrorData(ex);
	} catch (...) {
		data = duckdb::ErrorData(duckdb::ExceptionType::INTERNAL, "unknown exception");
	}
	error->kind = static_cast<int32_t>(data.Type());
	error->message = static_cast<char *>(quack_cpp_copy_text(Bytes(data.RawMessage())));
}

} // namespace quack
