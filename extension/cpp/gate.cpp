//! Orders the statements of one process that write what they have read: a statement waits here until no earlier one
//! excludes it. The gate saves conflicts in the log; correctness does not depend on it.

#include "gate.hpp"

#include "statement.hpp"

#include "duckdb/main/client_context.hpp"

using namespace duckdb;

namespace quack {

//! How long a statement excludes others. Nearly all statements have ended by then; one that has not may lose its rows to a
//! shorter one, and runs again.
constexpr auto TENURE = std::chrono::seconds(1);
//! The tenure of a statement that has lost is four times as long each time, so often.
constexpr idx_t LONGER_TENURES = 2;
//! No statement waits longer, with all its repetitions, however many are ahead of it.
constexpr auto WAIT_MAX = std::chrono::seconds(30);
//! A statement that waits looks so often whether it has been interrupted, and whether a tenure has ended.
constexpr auto LOOK_AGAIN = std::chrono::milliseconds(50);

Passage::Passage(StatementGate &gate, StatementWrites writes_p, idx_t losses)
    : writes(std::move(writes_p)), gate(gate), tenure(TENURE * (idx_t(1) << (2 * MinValue(losses, LONGER_TENURES)))) {
	lock_guard<mutex> guard(gate.lock);
	place = gate.passages.insert(gate.passages.end(), this);
}

Passage::~Passage() {
	lock_guard<mutex> guard(gate.lock);
	gate.passages.erase(place);
	if (gate.waiting > 0) {
		gate.AdmitWaiting();
	}
}

static bool KindsExclude(StatementKind a, StatementKind b) {
	if (a == StatementKind::UPSERT || b == StatementKind::UPSERT) {
		return true;
	}
	if (a == StatementKind::INSERT || b == StatementKind::INSERT) {
		return false;
	}
	return a == StatementKind::CHANGE || b == StatementKind::CHANGE;
}

bool Passage::Excludes(const Passage &other) const {
	return KindsExclude(writes.kind, other.writes.kind) && writes.MeetAtTable(other.writes) &&
	       !(is_inside && Clock::now() >= excludes_until);
}

void Passage::LetIn() {
	is_inside = true;
	excludes_until = Clock::now() + tenure;
}

bool StatementGate::IsExcluded(const Passage &passage) const {
	auto is_earlier = true;
	for (auto other : passages) {
		if (other == &passage) {
			is_earlier = false;
		} else if ((is_earlier || other->is_inside) && other->Excludes(passage)) {
			return true;
		}
	}
	return false;
}

void StatementGate::AdmitWaiting() {
	for (auto passage : passages) {
		if (!passage->is_inside && !IsExcluded(*passage)) {
			passage->LetIn();
			passage->let_in.notify_one();
		}
	}
}

StatementGate::Clock::time_point StatementGate::PatienceEnds() {
	return Clock::now() + WAIT_MAX;
}

unique_ptr<Passage> StatementGate::Enter(ClientContext &context, StatementWrites writes, idx_t losses,
                                         Clock::time_point patience_ends) {
	auto passage = make_uniq<Passage>(*this, std::move(writes), losses);
	std::unique_lock<mutex> guard(lock);
	auto let_in = [&] {
		if (!passage->is_inside && (!IsExcluded(*passage) || Clock::now() >= patience_ends)) {
			passage->LetIn();
		}
		return passage->is_inside;
	};
	if (let_in()) {
		return passage;
	}
	waiting++;
	try {
		do {
			passage->let_in.wait_for(guard, LOOK_AGAIN);
			if (IsInterrupted(context)) {
				throw InterruptException();
			}
			// Its time may be over, too.
			context.BlockingInterruptCheck();
		} while (!let_in());
	} catch (...) {
		waiting--;
		throw;
	}
	waiting--;
	return passage;
}

} // namespace quack
