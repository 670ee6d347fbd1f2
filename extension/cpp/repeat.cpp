//! Runs a statement again that has met a conflict, in a session like the client's, until it meets none or has tried too
//! often.

#include "repeat.hpp"

#include "capture.hpp"
#include "compat.hpp"
#include "host_extensions.hpp"
#include "network_session.hpp"
#include "statement.hpp"
#include "duckdb/catalog/catalog_search_path.hpp"
#include "duckdb/execution/operator/scan/physical_table_scan.hpp"
#include "duckdb/function/table/table_scan.hpp"
#include "duckdb/main/client_config.hpp"
#include "duckdb/main/client_data.hpp"
#include "duckdb/main/prepared_statement_data.hpp"
#include "duckdb/main/query_parameters.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace quack {

//! No statement meets so many conflicts unless something is wrong: each one means that another statement has won.
constexpr idx_t ATTEMPTS_MAX = 100;
//! An upsert that meets a key so often at which it had not found a row has found the wrong one: another constraint.
constexpr idx_t KEY_ATTEMPTS_MAX = 40;
//! After a conflict, so many statements of the connection run with no change beside them at once: where clients fight
//! for the same rows, running twice costs more than waiting.
constexpr idx_t CAUTIOUS_STATEMENTS = 16;

static bool CanReadAgain(const PhysicalOperator &plan) {
	switch (plan.type) {
	case PhysicalOperatorType::TABLE_SCAN: {
		auto &name = plan.Cast<PhysicalTableScan>().function.GetName();
		if (name != "seq_scan" && name != "range" && name != "generate_series") {
			return false;
		}
		break;
	}
	case PhysicalOperatorType::EXTENSION:
		// A part of the statement, in WITH, or an operator that we know nothing about.
		if (!StringUtil::StartsWith(plan.GetName(), "QUACK_")) {
			return false;
		}
		break;
	default:
		break;
	}
	for (auto &child : plan.GetChildren()) {
		if (!CanReadAgain(child.get())) {
			return false;
		}
	}
	return true;
}

bool MayRepeat(ClientContext &context, const PhysicalOperator &plan) {
	return !IsPartOfTransaction(context) && MayRunApart(context, plan);
}

bool MayRunApart(ClientContext &context, const PhysicalOperator &plan) {
	return !StatementState::Get(context).repeated && IsTransactionOfItsOwn(context) && CanReadAgain(plan);
}

uint64_t ShapeOfPlan(const PhysicalOperator &plan) {
	uint64_t shape = 0;
	if (plan.type == PhysicalOperatorType::TABLE_SCAN) {
		auto &scan = plan.Cast<PhysicalTableScan>();
		if (scan.function.GetName() == "seq_scan") {
			shape += ShapeOf(scan.bind_data->Cast<TableScanBindData>().table);
		}
	} else if (plan.type == PhysicalOperatorType::EXTENSION && plan.GetName() == PhysicalPropose::NAME) {
		shape += static_cast<const PhysicalPropose &>(plan).proposal->returned_shape;
	}
	for (auto &child : plan.GetChildren()) {
		shape += ShapeOfPlan(child.get());
	}
	return shape;
}

void RequireSameShape(const StatementState &state, uint64_t shape) {
	if (state.repeated && state.repeated_shape != shape) {
		throw TransactionException("Conflict: columns of a table have changed since the statement was planned: run it again");
	}
}

void HandOver(StatementState &state, ColumnDataCollection &emitted) {
	if (!state.repeated_into) {
		return;
	}
	// Copied: the memory of these rows ends with this connection.
	state.repeated_into->Reset();
	for (auto &chunk : emitted.Chunks()) {
		state.repeated_into->Append(chunk);
	}
}

//! A connection whose statements mean what they would mean in `context`.
static unique_ptr<Connection> ConnectLike(ClientContext &context) {
	auto connection = make_uniq<Connection>(*context.db);
	auto &again = *connection->context;
	again.config = context.config;
	again.config.get_result_collector = nullptr;
	again.config.enable_profiler = false;
	again.config.enable_progress_bar = false;
	NetworkSession::MarkLike(context, again);
	auto &data = ClientData::Get(context);
	auto &data_again = ClientData::Get(again);
	data_again.temporary_objects = data.temporary_objects;
	data_again.default_database = data.default_database;
	auto paths = data.catalog_search_path->GetSetPaths();
	again.RunFunctionInTransaction(
	    [&]() { data_again.catalog_search_path->Set(std::move(paths), CatalogSetPathType::SET_DIRECTLY); });
	return connection;
}

//! A connection's random numbers, while another one runs its statement.
class LentRandomEngine {
public:
	LentRandomEngine(ClientContext &owner, ClientContext &borrower, bool is_lent)
	    : owner(ClientData::Get(owner)), borrower(ClientData::Get(borrower)), is_lent(is_lent) {
		Exchange();
	}
	~LentRandomEngine() {
		Exchange();
	}

private:
	void Exchange() {
		if (is_lent) {
			std::swap(owner.random_engine, borrower.random_engine);
		}
	}

	ClientData &owner;
	ClientData &borrower;
	const bool is_lent;
};

//! Whether a statement has been ended, before it proposed anything, for what others have changed in the store.
static bool HasLost(const ErrorData &error) {
	if (error.Type() != ExceptionType::TRANSACTION) {
		return false;
	}
	auto &text = error.RawMessage();
	// A COMMIT says first that it has failed.
	return StringUtil::StartsWith(text, "Conflict on ") || StringUtil::EndsWith(text, ErrorData(LostConflict()).RawMessage());
}

static bool MustEnd(ClientContext &context) {
	try {
		context.BlockingInterruptCheck();
		return false;
	} catch (InterruptException &) {
		return true;
	}
}

static void Attempt(ClientContext &context, Connection &connection) {
	auto &state = StatementState::Get(context);
	unique_ptr<SQLStatement> statement;
	if (state.prepared) {
		statement = state.prepared->unbound_statement->Copy();
	} else {
		auto statements = connection.ExtractStatements(CurrentQuery(context));
		if (statements.size() != 1) {
			throw InternalException("a statement that met a conflict cannot be found again");
		}
		statement = std::move(statements[0]);
	}
	QueryParameters parameters;
	parameters.statement_args = state.parameters;
	auto result = connection.Submit(std::move(statement), parameters);
	while (!result->HasError()) {
		auto progress = result->ExecuteTask();
		if (IsObservable(progress)) {
			break;
		}
		// A client interrupts its own session, whose time limit counts, too.
		if (MustEnd(context)) {
			connection.context->Interrupt();
		}
		if (progress == QueryResultState::BLOCKED) {
			result->WaitForTask();
		}
	}
	if (!result->HasError()) {
		result->Complete();
	}
	if (result->HasError() && result->GetErrorType() == ExceptionType::INTERNAL) {
		// An assertion of the planner ends its statement alone; of one that runs already it would end all of the process's DuckDB.
		throw BinderException(result->GetErrorObject().RawMessage());
	}
	result->ThrowIfError();
}

//! `losses` tells how often the statement has run already and met a conflict.
static void RunUntilDone(ClientContext &context, ColumnDataCollection &emitted, uint64_t shape, idx_t losses) {
	auto &state = StatementState::Get(context);
	// Marks this thread, which may be one of DuckDB's own: DuckDB loads no extension in it for the client.
	auto serves = NetworkSession::Get(context) ? make_uniq<ServesClient>() : nullptr;
	auto connection = ConnectLike(context);
	auto &again = StatementState::Get(*connection->context);
	again.repeated = context;
	again.repeated_into = emitted;
	again.repeated_shape = shape;
	again.writes = state.writes;
	again.patience_ends = state.patience_ends;
	auto has_begun = losses > 0;
	if (!has_begun) {
		again.passage = std::move(state.passage);
	}
	// Its own passage would keep the repetition out.
	state.LeaveGate();
	// Of a statement that has not begun yet, random numbers follow the seed that its connection has been given.
	LentRandomEngine random(context, *connection->context, !has_begun);
	// A statement that finds nothing left to do, such as CREATE TABLE IF NOT EXISTS, hands nothing over.
	emitted.Reset();
	idx_t key_attempts = 0;
	for (idx_t attempt = 1;; attempt++) {
		again.cautious = losses > 0 || state.cautious > 0 ? 1 : 0;
		again.losses = losses;
		again.conflicted = false;
		again.key_conflict = false;
		try {
			Attempt(context, *connection);
			return;
		} catch (std::exception &ex) {
			key_attempts += again.key_conflict ? 1 : 0;
			ErrorData error(ex);
			if (error.Type() == ExceptionType::INTERRUPT) {
				// Says whether the time is over.
				context.BlockingInterruptCheck();
			}
			auto again_helps = again.conflicted || HasLost(error);
			if (!again_helps || attempt == ATTEMPTS_MAX || key_attempts == KEY_ATTEMPTS_MAX) {
				throw;
			}
		}
		context.BlockingInterruptCheck();
		losses++;
		state.cautious = CAUTIOUS_STATEMENTS;
	}
}

void Repeat(ClientContext &context, ColumnDataCollection &emitted, uint64_t shape) {
	StatementState::Get(context).cautious = CAUTIOUS_STATEMENTS;
	RunUntilDone(context, emitted, shape, 1);
}

void RunApart(ClientContext &context, ColumnDataCollection &emitted, uint64_t shape) {
	// What the statement reads, it reads in the other session.
	auto &meta = MetaTransaction::Get(context);
	for (auto &db : meta.OpenedTransactions()) {
		if (QuackCatalog::Is(db.get().GetCatalog())) {
			ReadNoMore(meta.GetTransaction(db).Cast<DuckTransaction>());
		}
	}
	RunUntilDone(context, emitted, shape, 0);
}

} // namespace quack
