//! Tracks the write of a running statement from its hand-over to the log until its outcome is known, and decides when the
//! statement may be interrupted. It corrects errors that would tell the client less than is known.

#include "outcome.hpp"

#include "duckdb/main/client_context.hpp"

using namespace duckdb;

namespace quack {

//! How long a write may take before the statement can be interrupted.
constexpr auto PATIENCE = std::chrono::milliseconds(500);

void Outcome::HandedOver(ClientContext &context) {
	state = State::ON_ITS_WAY;
	heeds = false;
	heeded = std::chrono::steady_clock::now() + PATIENCE;
	deadline = context.query_deadline;
	context.query_deadline.SetInvalid();
	context.SuppressInterrupts();
}

static bool HasPassed(const optional_idx &deadline) {
	if (!deadline.IsValid()) {
		return false;
	}
	auto now = std::chrono::steady_clock::now().time_since_epoch();
	return std::chrono::duration_cast<std::chrono::milliseconds>(now).count() >= static_cast<int64_t>(deadline.GetIndex());
}

bool Outcome::IsInterrupted(ClientContext &context) {
	if (state == State::ON_ITS_WAY) {
		if (HasPassed(deadline)) {
			return true;
		}
		if (!heeds && std::chrono::steady_clock::now() >= heeded) {
			heeds = true;
			context.ClearInterrupt();
		}
	}
	return context.IsInterrupted();
}

void Outcome::Known(ClientContext &context, bool taken) {
	if (taken) {
		state = State::COMMITTED;
		context.SuppressInterrupts();
		return;
	}
	if (state != State::ON_ITS_WAY) {
		return;
	}
	// It may run again, for as long as it was given.
	state = State::NOTHING;
	context.query_deadline = deadline;
	if (!heeds) {
		context.ClearInterrupt();
	}
}

void Outcome::Correct(optional_ptr<ErrorData> error) {
	auto known = state.exchange(State::NOTHING);
	if (known == State::NOTHING || !error || !error->HasError()) {
		return;
	}
	auto interrupted = error->Type() == ExceptionType::INTERRUPT;
	if (known == State::COMMITTED) {
		string failure = interrupted ? "The statement was then interrupted" : "The statement then failed: " + error->RawMessage();
		*error = ErrorData(ExceptionType::CONNECTION,
		                   "the write has been committed and has taken effect; do not repeat it. " + failure);
	} else if (interrupted) {
		*error = ErrorData(ExceptionType::CONNECTION, "the outcome of the write is unknown: interrupted while waiting for it. "
		                                              "It may still take effect; read before you repeat it");
	}
}

} // namespace quack
