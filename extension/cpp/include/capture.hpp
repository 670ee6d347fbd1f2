//! The operators that stand in for DuckDB's INSERT, UPDATE and DELETE in a client's plan.
#pragma once

#include "compat.hpp"
#include "profile.hpp"
#include "rows.hpp"
#include "statement.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/expression.hpp"

namespace quack {

//! What the operators of one plan share while it runs: where its row changes go.
struct Proposal {
	duckdb::shared_ptr<Changes> changes;
	//! `StatementState::goes_on_after_write`, as it was when the plan was made.
	bool goes_on_after_write;
	//! `StatementState::reads_replacement`, likewise.
	bool reads_replacement;
	//! Whether what it has not found must still be missing: a MERGE, which an INSERT ... ON CONFLICT is, too.
	bool is_upsert = false;
	//! `StatementState::returning`, likewise.
	duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> returning;
	//! The columns of the table whose rows are returned; 0 without RETURNING.
	uint64_t returned_shape = 0;
};

class CaptureState;

//! Writes the rows that the plan below yields into the statement's transaction; the store stays as it is.
//! Emits what DuckDB's own operator would: the row count, or the rows for RETURNING.
//!
//! A transaction sees what it has written, but a statement of it must not see what it writes itself. A scan that begins
//! when others of the same plan have ended, as below UNION ALL, would. So what such a plan yields is kept until all of it
//! has ended.
//!
//! Follows PhysicalInsert, PhysicalUpdate and PhysicalDelete of DuckDB in what it expects of the chunk below.
class PhysicalCapture : public duckdb::PhysicalOperator {
public:
	PhysicalCapture(duckdb::PhysicalPlan &plan, duckdb::vector<duckdb::LogicalType> types, idx_t estimated_cardinality,
	                duckdb::shared_ptr<Proposal> proposal, bool return_chunk);

	//! Makes changes of a chunk of the plan below, and hands them to `Write`.
	virtual void Capture(duckdb::ClientContext &context, duckdb::DataChunk &chunk, CaptureState &state) const = 0;
	//! The types of the chunks that `Capture` makes.
	virtual duckdb::vector<duckdb::LogicalType> ChangeTypes() const = 0;
	//! Makes changes a part of the transaction.
	virtual void Apply(duckdb::ClientContext &context, duckdb::DataChunk &changes, CaptureState &state) const = 0;

	bool IsSink() const override {
		return true;
	}
	bool IsSource() const override {
		return true;
	}
	bool SinkOrderDependent() const override {
		return true;
	}
	duckdb::InsertionOrderPreservingMap<duckdb::string> ParamsToString() const override;
	duckdb::SinkResultType Sink(duckdb::ExecutionContext &context, duckdb::DataChunk &chunk,
	                            duckdb::OperatorSinkInput &input) const override;
	duckdb::SinkFinalizeType Finalize(duckdb::Pipeline &pipeline, duckdb::Event &event, duckdb::ClientContext &context,
	                                  duckdb::OperatorSinkFinalizeInput &input) const override;
	duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(duckdb::ClientContext &context) const override;
	duckdb::unique_ptr<duckdb::GlobalSourceState> GetGlobalSourceState(duckdb::ClientContext &context) const override;
	//! The table that changes, for profiles.
	virtual duckdb::string Target() const;
	//! The table that changes, if it is there before the statement.
	virtual duckdb::optional_ptr<duckdb::DuckTableEntry> Table() const {
		return nullptr;
	}
	//! Binds what the capture needs of its table, before anything runs: to do so changes the connection for a moment, which
	//! other parts of the statement would see.
	void Bind(duckdb::ClientContext &context);

	duckdb::shared_ptr<Proposal> proposal;
	bool return_chunk;
	//! Whether it is the whole statement that writes.
	bool is_alone = false;

protected:
	//! Of the table, for an upsert that may meet keys that it has not found.
	BoundConstraints constraints;
	//! What a bulk change has put aside.
	virtual void FinishBulk(duckdb::ClientContext &, CaptureState &) const {
	}
	//! Applies changes now, or when the plan below has ended.
	void Write(duckdb::ClientContext &context, duckdb::DataChunk &changes, CaptureState &state) const;
	duckdb::SourceResultType GetDataInternal(duckdb::ExecutionContext &context, duckdb::DataChunk &chunk,
	                                         duckdb::OperatorSourceInput &input) const override;
};

class PhysicalCaptureInsert : public PhysicalCapture {
public:
	PhysicalCaptureInsert(duckdb::PhysicalPlan &plan, duckdb::vector<duckdb::LogicalType> types,
	                      idx_t estimated_cardinality, duckdb::shared_ptr<Proposal> proposal, bool return_chunk,
	                      duckdb::DuckTableEntry &table);

	duckdb::string GetName() const override {
		return "QUACK_INSERT";
	}
	duckdb::optional_ptr<duckdb::DuckTableEntry> Table() const override {
		return table;
	}
	void Capture(duckdb::ClientContext &context, duckdb::DataChunk &chunk, CaptureState &state) const override;
	duckdb::vector<duckdb::LogicalType> ChangeTypes() const override;
	void Apply(duckdb::ClientContext &context, duckdb::DataChunk &changes, CaptureState &state) const override;

	duckdb::DuckTableEntry &table;
};

//! INSERT into the table that the same statement creates.
class PhysicalCaptureCreate : public PhysicalCapture {
public:
	PhysicalCaptureCreate(duckdb::PhysicalPlan &plan, duckdb::vector<duckdb::LogicalType> types,
	                      idx_t estimated_cardinality, duckdb::shared_ptr<Proposal> proposal,
	                      duckdb::SchemaCatalogEntry &schema, duckdb::unique_ptr<duckdb::CreateInfo> info);

	duckdb::string GetName() const override {
		return "QUACK_CREATE_TABLE_AS";
	}
	duckdb::string Target() const override {
		return info->GetQualifiedName().ToString();
	}
	duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(duckdb::ClientContext &context) const override;
	void Capture(duckdb::ClientContext &context, duckdb::DataChunk &chunk, CaptureState &state) const override;
	duckdb::vector<duckdb::LogicalType> ChangeTypes() const override;
	void Apply(duckdb::ClientContext &context, duckdb::DataChunk &changes, CaptureState &state) const override;

	duckdb::SchemaCatalogEntry &schema;
	duckdb::unique_ptr<duckdb::CreateInfo> info;
	//! The lanes that the new table's rows take.
	Route route;
};

class PhysicalCaptureUpdate : public PhysicalCapture {
public:
	PhysicalCaptureUpdate(duckdb::PhysicalPlan &plan, duckdb::vector<duckdb::LogicalType> types,
	                      idx_t estimated_cardinality, duckdb::shared_ptr<Proposal> proposal, bool return_chunk,
	                      duckdb::DuckTableEntry &table, duckdb::vector<duckdb::PhysicalIndex> columns,
	                      duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> expressions,
	                      duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> bound_defaults,
	                      RepeatedRows repeated_rows);

	duckdb::string GetName() const override {
		return "QUACK_UPDATE";
	}
	duckdb::optional_ptr<duckdb::DuckTableEntry> Table() const override {
		return table;
	}
	void Capture(duckdb::ClientContext &context, duckdb::DataChunk &chunk, CaptureState &state) const override;
	duckdb::vector<duckdb::LogicalType> ChangeTypes() const override;
	void Apply(duckdb::ClientContext &context, duckdb::DataChunk &changes, CaptureState &state) const override;

	duckdb::DuckTableEntry &table;
	duckdb::vector<duckdb::PhysicalIndex> columns;
	duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> expressions;
	duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> bound_defaults;
	RepeatedRows repeated_rows;
	//! Whether foreign keys refer to the table: such rows are changed in place where DuckDB would, since deleting them
	//! first would violate the key.
	bool referenced;

	duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(duckdb::ClientContext &context) const override;

protected:
	void FinishBulk(duckdb::ClientContext &context, CaptureState &state) const override;

private:
	//! Rows to change and their new values, in the order of `columns`.
	void CaptureRows(duckdb::ClientContext &context, duckdb::Vector &row_ids, idx_t count, duckdb::DataChunk &values,
	                 CaptureState &state) const;
	//! Deletes the old rows and inserts the new ones.
	void Replace(duckdb::ClientContext &context, duckdb::DataChunk &changes) const;
};

class PhysicalCaptureDelete : public PhysicalCapture {
public:
	PhysicalCaptureDelete(duckdb::PhysicalPlan &plan, duckdb::vector<duckdb::LogicalType> types,
	                      idx_t estimated_cardinality, duckdb::shared_ptr<Proposal> proposal, bool return_chunk,
	                      duckdb::DuckTableEntry &table, idx_t row_id_index);

	duckdb::string GetName() const override {
		return "QUACK_DELETE";
	}
	duckdb::optional_ptr<duckdb::DuckTableEntry> Table() const override {
		return table;
	}
	void Capture(duckdb::ClientContext &context, duckdb::DataChunk &chunk, CaptureState &state) const override;
	duckdb::vector<duckdb::LogicalType> ChangeTypes() const override;
	void Apply(duckdb::ClientContext &context, duckdb::DataChunk &changes, CaptureState &state) const override;

	duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(duckdb::ClientContext &context) const override;

	duckdb::DuckTableEntry &table;
	idx_t row_id_index;

protected:
	void FinishBulk(duckdb::ClientContext &context, CaptureState &state) const override;

private:
	void CaptureRows(duckdb::ClientContext &context, duckdb::Vector &row_ids, idx_t count, CaptureState &state) const;
};

//! Opens the statement's transaction before anything below it runs, proposes it when all of that has ended, waits for
//! the outcome, and passes on what the operators below have emitted.
class PhysicalPropose : public duckdb::PhysicalOperator {
public:
	static constexpr const char *NAME = "QUACK_PROPOSE";

	PhysicalPropose(duckdb::PhysicalPlan &plan, duckdb::PhysicalOperator &captured, QuackCatalog &catalog,
	                duckdb::shared_ptr<Proposal> proposal);

	duckdb::string GetName() const override {
		return NAME;
	}
	duckdb::InsertionOrderPreservingMap<duckdb::string> ParamsToString() const override {
		return Profiled(*this);
	}
	bool IsSink() const override {
		return true;
	}
	bool IsSource() const override {
		return true;
	}
	bool SinkOrderDependent() const override {
		return true;
	}
	void BuildPipelines(duckdb::Pipeline &current, duckdb::MetaPipeline &meta_pipeline) override;
	duckdb::SinkResultType Sink(duckdb::ExecutionContext &context, duckdb::DataChunk &chunk,
	                            duckdb::OperatorSinkInput &input) const override;
	duckdb::SinkFinalizeType Finalize(duckdb::Pipeline &pipeline, duckdb::Event &event, duckdb::ClientContext &context,
	                                  duckdb::OperatorSinkFinalizeInput &input) const override;
	duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(duckdb::ClientContext &context) const override;
	duckdb::unique_ptr<duckdb::GlobalSourceState> GetGlobalSourceState(duckdb::ClientContext &context) const override;

	QuackCatalog &catalog;
	duckdb::shared_ptr<Proposal> proposal;

private:
	void TryReturning(duckdb::ClientContext &context, duckdb::ColumnDataCollection &emitted) const;

protected:
	duckdb::SourceResultType GetDataInternal(duckdb::ExecutionContext &context, duckdb::DataChunk &chunk,
	                                         duckdb::OperatorSourceInput &input) const override;
};

} // namespace quack
